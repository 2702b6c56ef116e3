"""A contract for import-linter: no module imports a package that it stands in (the package imports its modules)."""

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, output


class NoParentImports(Contract):
    """Imports of an ancestor are half-done circles: they work or fail by the order of first use."""

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        found = [
            (importer, imported)
            for importer in sorted(graph.modules)
            for imported in sorted(graph.find_modules_directly_imported_by(importer))
            if importer.startswith(f"{imported}.")
        ]
        return ContractCheck(kept=not found, metadata={"found": found})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for importer, imported in check.metadata["found"]:
            output.print_error(f"{importer} imports {imported}, the package that it stands in", bold=False)
