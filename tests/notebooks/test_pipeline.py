"""The runner on toy notebooks: strict parameters, true status, freshness, and failures that cost nothing else."""

import multiprocessing
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import nbformat
import psutil
import pytest

from clipcap_lib.files import read_json
from clipcap_lib.runner import execution, jobs
from clipcap_lib.runner.devices import Devices
from clipcap_lib.runner.experiment import find_experiment, load_experiment, run_id
from clipcap_lib.runner.freshness import is_fresh
from clipcap_lib.runner.jobs import Job, check_parameters, partial_folder, plan_jobs
from clipcap_lib.runner.parameter_cells import ParameterError, notebook_parameters
from clipcap_lib.runner.pipeline import local_engine, run_jobs
from clipcap_lib.runs import finished_in

pytestmark = pytest.mark.notebooks
GOOD = "from pathlib import Path\nPath(output, 'result.txt').write_text(str(number))"


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Write toy notebooks and make jobs of them; they import nothing, so a kernel starts in a second."""
    monkeypatch.setattr(jobs, "NOTEBOOKS", tmp_path)

    def make(name: str, *cells: str, needs: tuple[Job, ...] = (), **parameters) -> Job:
        head = nbformat.v4.new_code_cell(
            'number: int = 1\nrate: float = 0.5\noutput: str = ""', metadata={"tags": ["parameters"]}
        )
        notebook = nbformat.v4.new_notebook(cells=[head, *map(nbformat.v4.new_code_cell, cells)])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, tmp_path / f"{name}.ipynb")
        return Job(name, tmp_path / "reports" / name, parameters, needs)

    return make


def test_a_notebook_that_works_is_done_and_then_fresh(toy):
    job = toy("good", GOOD, number=7)
    assert [outcome.status for outcome in run_jobs([job])] == ["done"]
    assert (job.folder / "result.txt").read_text() == "7"
    assert (job.folder / "DONE").exists()
    assert not partial_folder(job).exists()
    assert [outcome.status for outcome in run_jobs([job])] == ["fresh"]
    assert not is_fresh(Job("good", job.folder, {"number": 8}))
    assert not is_fresh(toy("good", GOOD, "1 + 1", number=7))


def test_what_a_notebook_explains_is_renewed_without_executing_it(toy, tmp_path):
    job, source = toy("good", GOOD, "2 * number", number=7), tmp_path / "good.ipynb"
    run_jobs([job])
    executed = nbformat.read(job.folder / "notebook.ipynb", as_version=4).cells
    explained = nbformat.read(source, as_version=4)
    explained.cells.insert(1, nbformat.v4.new_markdown_cell("What the parameters mean."))
    explained.cells.append(nbformat.v4.new_markdown_cell("Elsewhere", metadata={"tags": ["navigation"]}))
    nbformat.write(explained, source)
    assert [outcome.status for outcome in run_jobs([job])] == ["fresh"]
    renewed = nbformat.read(job.folder / "notebook.ipynb", as_version=4).cells
    assert [cell for cell in renewed if cell.cell_type == "code"] == executed
    assert [cell.source for cell in renewed if cell.cell_type == "markdown"] == ["What the parameters mean."]
    assert renewed[1].source == "What the parameters mean."


@pytest.mark.parametrize(
    ("cell", "timeout", "message"),
    [
        ("raise ValueError('too bad')", 60, "cell 3: ValueError: too bad"),
        ("import os; os._exit(9)", 60, "cell 3: kernel died"),
        ("import time; time.sleep(60)", 1, "cell 3: took too long"),
    ],
)
def test_a_failure_names_its_cell_and_spares_the_others(toy, cell, timeout, message):
    bad, good = replace(toy("bad", cell, GOOD), cell_timeout=timeout), toy("good", GOOD)
    after = toy("after", GOOD, needs=(bad,))
    outcomes = run_jobs([bad, good, after])
    assert [outcome.status for outcome in outcomes] == ["failed", "done", "skipped"]
    assert message in outcomes[0].error
    assert outcomes[2].error == "needs bad"
    assert not bad.folder.exists()
    assert read_json(partial_folder(bad) / "job.json")["error"] == outcomes[0].error
    assert (partial_folder(bad) / "notebook.ipynb").exists()


def test_a_failure_removes_the_older_result_it_would_pass_for(toy):
    job = toy("job", GOOD)
    run_jobs([job])
    broken = toy("job", "1 / 0")
    assert [outcome.status for outcome in run_jobs([broken])] == ["failed"]
    assert not job.folder.exists()


def test_what_was_begun_is_still_there_when_it_is_run_again(toy):
    cell = "from pathlib import Path\nmark = Path(output, 'mark')\nbegun = mark.exists()\nmark.touch()\nassert begun"
    job = toy("resumes", cell, GOOD)
    assert [run_jobs([job])[0].status for _ in range(2)] == ["failed", "done"]


@pytest.mark.parametrize("survives", [0, 1])
def test_a_kill_while_the_result_is_put_in_place_costs_nothing(toy, monkeypatch, survives):
    older = toy("job", GOOD, number=1)
    run_jobs([older])
    job, rename, calls = toy("job", GOOD, number=2), Path.rename, []

    def dying(self, target):
        calls.append(target)
        if len(calls) > survives:
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", dying)
        with pytest.raises(KeyboardInterrupt):
            run_jobs([job])
    monkeypatch.setattr(execution.papermill, "execute_notebook", lambda *a, **k: pytest.fail("executed again"))
    assert [outcome.status for outcome in run_jobs([job])] == ["done"]
    assert (job.folder / "result.txt").read_text() == "2"
    assert [path.name for path in job.folder.parent.iterdir()] == ["job"]
    assert is_fresh(job)


@pytest.mark.parametrize("record", ["", "{", "[]"])
def test_a_damaged_record_is_not_fresh(toy, record):
    job = toy("job", GOOD)
    run_jobs([job])
    (job.folder / "job.json").write_text(record)
    assert not is_fresh(job)
    assert [outcome.status for outcome in run_jobs([job])] == ["done"]


def test_what_is_being_made_is_no_finished_run(toy):
    job = toy("job", "from pathlib import Path\nPath(output, 'DONE').touch()", "1 / 0")
    run_jobs([job])
    (partial_folder(job) / "DONE").touch()
    assert finished_in(job.folder.parent) == []


def test_a_kernel_that_did_not_start_gets_one_more_chance(toy, monkeypatch):
    job, calls, execute = toy("good", GOOD), [], execution.papermill.execute_notebook

    def flaky(*arguments, **options):
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("Kernel died before replying to kernel_info")
        return execute(*arguments, **options)

    monkeypatch.setattr(execution.papermill, "execute_notebook", flaky)
    assert [outcome.status for outcome in run_jobs([job])] == ["done"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"nmber": 1}, "unknown parameter 'nmber'; it has number, rate, output"),
        ({"number": "1"}, "number is '1'; expected int"),
        ({"number": 1.5}, "number is 1.5; expected int"),
        ({"rate": True}, "rate is True; expected float"),
    ],
)
def test_wrong_parameters_stop_before_any_work(toy, parameters, message):
    good, bad = toy("good", GOOD), toy("bad", GOOD, **parameters)
    with pytest.raises(ParameterError, match=message):
        run_jobs([good, bad])
    assert not good.folder.exists()


def test_a_whole_number_is_a_float(toy):
    check_parameters(toy("good", GOOD, rate=1))


def test_the_parameters_cell_may_hold_literals_only(toy, tmp_path):
    toy("good", GOOD)
    assert notebook_parameters(tmp_path / "good.ipynb") == {"number": 1, "rate": 0.5, "output": ""}
    notebook = nbformat.read(tmp_path / "good.ipynb", as_version=4)
    notebook.cells[0].source = "number: int = 1 + len('a')"
    nbformat.write(notebook, tmp_path / "good.ipynb")
    with pytest.raises(ParameterError, match="literal"):
        notebook_parameters(tmp_path / "good.ipynb")


def test_an_unwritable_folder_is_a_clear_failure(toy, tmp_path):
    job = toy("good", GOOD)
    (tmp_path / "reports").write_text("a file where a folder should be")
    outcome = run_jobs([job])[0]
    assert outcome.status == "failed"
    assert "reports" in outcome.error


def test_extraction_has_the_threads_of_all_workers():
    settings = load_experiment(find_experiment(Path("emoji-zh")))
    threads = {job.notebook: job.parameters.get("threads") for job in plan_jobs(settings, Path("reports"))}
    assert threads["03_train"] == settings.execution.threads
    assert threads["02_feature_extraction"] == settings.execution.workers * settings.execution.threads > 1


def test_the_longest_trainings_begin_first_and_reports_keep_the_order_of_the_file():
    settings = load_experiment(find_experiment(Path("emoji-zh")))
    jobs = plan_jobs(settings, Path("reports"))
    tunings = [job.parameters["tuning"] for job in jobs if job.notebook == "03_train"]
    assert tunings == ["full"] * 3 + ["frozen"] * 3
    listed = [Path(run).name for run in jobs[-1].parameters["runs"]]
    assert listed == [run_id(**choice) for choice in settings.run_grid()]


def test_a_kernel_sees_its_gpu_alone_and_keeps_the_rest_of_its_environment(toy, monkeypatch):
    monkeypatch.setenv("KEPT", "yes")
    one = toy("one", "import os\nassert (os.environ['CUDA_VISIBLE_DEVICES'], os.environ['KEPT']) == ('3', 'yes')")
    assert [outcome.error for outcome in run_jobs([one], engine=local_engine(1, Devices(["3"])))] == [None]


# --- kernels that are forked ---------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux only")
def test_kernels_have_imported_everything_and_share_nothing(toy):
    first = toy("first", "import sys, os\nassert {'torch', 'seaborn', 'transformers'} <= sys.modules.keys()",
                "left = 1\nos.environ['LEFT'] = '1'\nos.chdir('/')\nsys.modules['torch'].left = 1")  # fmt: skip
    second = toy("second", "import os, torch\nassert 'left' not in globals()\nassert 'LEFT' not in os.environ",
                 f"assert os.getcwd() == {os.getcwd()!r}\nassert not hasattr(torch, 'left')",
                 "assert torch.randn(300, 300).mm(torch.randn(300, 300)).shape == (300, 300)")  # fmt: skip
    assert [outcome.error for outcome in run_jobs([first, second])] == [None, None]


def test_a_forked_kernel_starts_processes_as_any_other_does(toy):
    as_here = f"multiprocessing.get_start_method() == {multiprocessing.get_start_method()!r}"
    how = toy("how", f"import multiprocessing\nassert {as_here}")  # or its own children would import everything anew
    assert [outcome.error for outcome in run_jobs([how])] == [None]


def test_a_forked_kernel_shows_figures(toy):
    drawn = toy("drawn", "import matplotlib.pyplot as plt\nfrom IPython.display import display\n"
                         "figure, axis = plt.subplots()\nplt.close(figure)\ndisplay(figure)")  # fmt: skip
    assert [outcome.error for outcome in run_jobs([drawn])] == [None]
    assert "image/png" in (drawn.folder / "notebook.ipynb").read_text()


def test_a_kernel_ends_with_the_command_that_started_it(toy, tmp_path):
    toy("long", f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))", "time.sleep(600)")
    (tmp_path / "caller.py").write_text(
        "import multiprocessing\nfrom pathlib import Path\nfrom clipcap_lib.runner import jobs, pipeline\n"
        "multiprocessing.set_forkserver_preload = lambda modules: None\n"  # this kernel needs nothing of it
        f"here = Path({str(tmp_path)!r})\njobs.NOTEBOOKS = here\n"
        "pipeline.run_jobs([jobs.Job('long', here / 'reports' / 'long', {})])"
    )
    caller = subprocess.Popen([sys.executable, str(tmp_path / "caller.py")])
    assert until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), 120)
    kernel = psutil.Process(int((tmp_path / "pid").read_text()))
    caller.kill()
    caller.wait()
    assert until(lambda: not kernel.is_running(), 30)


def until(found, seconds):
    """What a function finds, asked again for so many seconds."""
    ends = time.monotonic() + seconds
    while not (value := found()) and time.monotonic() < ends:
        time.sleep(0.1)
    return value
