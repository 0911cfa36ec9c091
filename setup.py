"""The build: device data and examples, which lie beside the package here, go inside it there."""

import runpy
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = runpy.run_path(str(Path(__file__).resolve().parent / "aimc_sim" / "shipped.py"))


class Build(build_py):
    """Build a package with the folders that lie beside it, and with nothing of earlier builds."""

    def run(self) -> None:
        """Build into an empty folder; an editable installation finds the folders where they are."""
        if not self.editable_mode:
            shutil.rmtree(Path(self.build_lib) / "aimc_sim", ignore_errors=True)
        super().run()
        if not self.editable_mode:
            for target, source in self._shipped().items():
                self.mkpath(str(Path(target).parent))
                self.copy_file(str(source), target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Return all files that are written; an editable installation has no folders inside."""
        shipped = [] if self.editable_mode else self._shipped()
        return [*super().get_outputs(include_bytecode), *shipped]

    def _shipped(self) -> dict[str, Path]:
        """Return the files to be copied, by the place where they go."""
        return {
            str(Path(self.build_lib, "aimc_sim", folder, name)): path
            for folder in SHIPPED["FOLDERS"]
            for name, path in SHIPPED["contents"](folder).items()
        }


setup(cmdclass={"build_py": Build})
