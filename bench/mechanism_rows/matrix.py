"""M24 to M26: angiogenesis and the matrix."""

from bench.mechanism_rows.row import Row

FIELDS = "continuous species"

ROWS = (
    Row(
        "M24",
        "angiogenesis",
        "S0:L4; S3:L54, L84; T3 L87",
        "new blood vessel formation",
        "Vessels grow with release, and sprouts climb the field of VEGF.",
        waits=f"{FIELDS} (VEGF) and chemotaxis",
    ),
    Row(
        "M25",
        "supply by vessels",
        "S3:L84",
        "supplying the tumor with oxygen and nutrients",
        "The hypoxic share falls, and growth rises with a lag after the vessels.",
        waits=f"{FIELDS} (oxygen)",
    ),
    Row(
        "M26",
        "MMP degrades the matrix",
        "S3:L84; T3 L88",
        "degrade extracellular matrix ... invasion and dissemination",
        "The matrix falls exponentially where MMP vesicles are; diffusion follows.",
        waits=f"{FIELDS} (a fibre matrix)",
    ),
)
