"""Generates the protobuf and gRPC modules from proto/ into this folder: python generate.py"""

from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

HERE = Path(__file__).resolve().parent
PROTO = HERE.parents[2] / "proto"

sources = sorted(str(path) for path in PROTO.rglob("*.proto"))
well_known = str(files("grpc_tools") / "_proto")
arguments = ["protoc", f"-I{PROTO}", f"-I{well_known}", f"--python_out={HERE}", f"--grpc_python_out={HERE}", *sources]
if protoc.main(arguments) != 0:
    raise SystemExit("protoc failed")
