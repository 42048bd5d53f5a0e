"""Generates the protobuf modules before setuptools looks for packages; everything else is in pyproject.toml."""

from pathlib import Path
from runpy import run_path

from setuptools import setup

# A source distribution has no generator: it comes with the modules.
generator = Path(__file__).resolve().with_name("generate.py")
if generator.is_file():
    run_path(str(generator))
setup()
