"""Compiles C# as `dotnet build` does, with what PyPI and npm hold of .NET: its runtime, and the compiler itself (Roslyn).

    python -m tests.csharp Program.cs program.dll

Prints what the compiler says and ends with 1 where there are errors. Without `program.dll` the syntax is checked alone: that is
all that can be done for code that uses a library from NuGet.
"""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path

ROSLYN = Path(__file__).resolve().parent.parent / ".cache/npm-clients/node_modules/@autorest/csharp"  # .ci/run fills it
IMPLICIT = (
    "System System.Collections.Generic System.IO System.Linq System.Net.Http System.Threading System.Threading.Tasks"
)


def dotnet_folder() -> Path | None:
    """Where the program `dotnet` and its libraries are."""
    found = find_spec("dnv")
    places = found.submodule_search_locations if found else None
    return Path(places[0]) / "net" / "runtime" / ".net" if places else None


def dotnet() -> Path:
    """The wheel holds it without the right to be executed."""
    folder = dotnet_folder()
    assert folder
    program = folder / "dotnet"
    program.chmod(0o755)
    return program


def compiled(source: str, target: Path | None, libraries: list[Path]) -> list[str]:
    """What the compiler objects to."""
    folder = dotnet_folder()
    assert folder
    from clr_loader import get_coreclr
    from pythonnet import load

    load(get_coreclr(runtime_config=str(folder.parent / "runtimeconfig.json"), dotnet_root=str(folder)))
    import clr

    for name in ("Microsoft.CodeAnalysis", "Microsoft.CodeAnalysis.CSharp"):
        clr.AddReference(str(ROSLYN / f"{name}.dll"))
    from Microsoft.CodeAnalysis import DiagnosticSeverity, MetadataReference, OutputKind, SyntaxTree
    from Microsoft.CodeAnalysis.CSharp import CSharpCompilation, CSharpCompilationOptions, CSharpSyntaxTree
    from System.Collections.Generic import List
    from System.IO import File

    usings = "".join(f"global using {name};\n" for name in IMPLICIT.split())
    trees = List[SyntaxTree]()
    for text in (usings, source):
        trees.Add(CSharpSyntaxTree.ParseText(text))
    references = List[MetadataReference]()
    for library in [*folder.glob("shared/Microsoft.NETCore.App/*/*.dll"), *libraries]:
        references.Add(MetadataReference.CreateFromFile(str(library)))
    options = CSharpCompilationOptions(OutputKind.ConsoleApplication)
    compilation = CSharpCompilation.Create("program", trees, references, options)
    if target:
        stream = File.Create(str(target))
        told = list(compilation.Emit(stream).Diagnostics)
        stream.Dispose()
    else:
        told = list(trees[1].GetDiagnostics())
    return [str(one) for one in told if one.Severity == DiagnosticSeverity.Error]


def main(source: str, target: str = "", *libraries: str) -> int:
    place = Path(target).resolve() if target else None
    errors = compiled(Path(source).read_text(), place, [Path(library).resolve() for library in libraries])
    print("\n".join(errors))
    if place:
        framework = {"name": "Microsoft.NETCore.App", "version": "8.0.0"}
        place.with_suffix(".runtimeconfig.json").write_text(json.dumps({"runtimeOptions": {"framework": framework}}))
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
