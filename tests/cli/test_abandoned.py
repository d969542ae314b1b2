"""What a killed run leaves beside the others is found by whoever purges."""

import os
import subprocess
import sys

from expunge.cli.runs import abandoned, new_run


def test_folders_of_processes_that_are_gone_are_abandoned_and_no_others(tmp_path):
    code = "import sys; from pathlib import Path; from expunge.cli.runs import new_run\n"
    code += "run = new_run(Path(sys.argv[1]), 'r.1'); (run.__enter__() / 'x').touch()\n"
    code += "import os; os._exit(9)"  # as a kill would: nothing is tidied up
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    with new_run(tmp_path, "r2") as own:
        (tmp_path / ".other.partial").mkdir()  # nobody knows who made it
        (found,) = abandoned(tmp_path)
        assert found != own
        assert (found / "x").exists()
        assert str(os.getpid()) in own.name
