"""The engine ``exact``: every hop, reaction, division, death and move is one event."""
