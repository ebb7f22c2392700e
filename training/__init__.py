"""How the data files of the package came about; no part of the package."""
