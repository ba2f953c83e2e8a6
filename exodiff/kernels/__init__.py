"""Pure functions of arrays that advance a state: random bits, draws, hops, reactions, cells."""
