"""What can be chosen: cell graphs, spaces and architectures. Imports nothing else of nasray."""

from nasray.spaces.architecture import Architecture
from nasray.spaces.genotype import from_genotype, parse_architecture, to_genotype
from nasray.spaces.graph import CellGraph, Choice, Edge
from nasray.spaces.liveness import live
from nasray.spaces.reading import architecture_of_value, known_forms, read_architecture
from nasray.spaces.space import CellSpace, NetworkSize, Normalisation, Reference
from nasray.spaces.strings import from_string, has_strings, string_form, string_pattern, to_string

__all__ = [
    "Architecture",
    "CellGraph",
    "CellSpace",
    "Choice",
    "Edge",
    "NetworkSize",
    "Normalisation",
    "Reference",
    "architecture_of_value",
    "from_genotype",
    "from_string",
    "has_strings",
    "known_forms",
    "live",
    "parse_architecture",
    "read_architecture",
    "string_form",
    "string_pattern",
    "to_genotype",
    "to_string",
]
