"""Parts that a user wrote, in files outside the packages: run, stored, resumed, sent to a worker, read without them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tomli_w

import analysis
import ensemble as ens
from ensemble.problem.risks import kernel
from tests.helpers import assert_same_members, called

OWN = Path(__file__).parent / "own"


@pytest.fixture
def folder(tmp_path):
    """A copy of the user's files, which a test may change."""
    return Path(shutil.copytree(OWN, tmp_path / "own", ignore=shutil.ignore_patterns("__pycache__")))


def command(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
    words = [sys.executable, *map(str, arguments)]
    return subprocess.run(words, env=environment, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def two_layer(tmp_path_factory):
    """The study of all roles, run through the command line."""
    out = tmp_path_factory.mktemp("own") / "run"
    called("ensemble", "run", OWN / "two_layer.toml", "--out", out)
    return out


def test_every_role_runs_through_the_command_line(two_layer):
    ds = ens.open_dataset(two_layer)
    assert ds.attrs["complete"] and ds.attrs["engine"] == "xla"
    assert ds["singular_values"].dims == ("ratio", "size", "seed", "mode") and ds.sizes["mode"] == 3
    assert ds["singular_values_history"].attrs["long_name"].startswith("singular values of W")
    assert bool((ds["loss"] < ds["loss_history"].isel(record=0)).all())
    # The proximal stage: entries that are exactly 0; none of a start is.
    assert float((ds["W"] == 0.0).mean()) > 0.0
    np.testing.assert_array_equal(ds["teacher_a"].sel(ratio=0.5, size=0.2, seed=0), [1.0, 0.5])
    singular = np.linalg.svd(ds["W"].values, compute_uv=False)
    np.testing.assert_allclose(ds["singular_values"], singular, atol=1e-14)


def test_the_users_activation_has_the_kernel_that_it_says():
    ens.Study.from_toml(OWN / "two_layer.toml")
    sigma = ens.ACTIVATIONS["cosine"]
    W, V = jnp.array([[0.3, -0.5], [1.0, 0.2]]), jnp.array([[0.7, 0.1]])
    x = jax.random.normal(jax.random.key(0), (400_000, 2))
    sampled = jnp.mean(jnp.cos(x @ W.T)[:, :, None] * jnp.cos(x @ V.T)[:, None, :], axis=0)
    # Five standard errors of a mean of products in [−1, 1].
    np.testing.assert_allclose(kernel(sigma, W, V), sampled, atol=5 / np.sqrt(400_000))


def test_a_users_numbers_compile_nothing_and_its_risk_is_the_stage_s(two_layer):
    study = ens.Study.from_toml(OWN / "two_layer.toml")
    from ensemble.plan import groups

    (group,) = groups(study)
    assert len(group.cells) == 4 and len(group.pools) == 2
    ds = ens.open_dataset(two_layer)
    a, W = ds["a"].values, ds["W"].values
    penalty = np.abs(a).sum(-1) + np.abs(W).sum((-1, -2))
    np.testing.assert_allclose(ds["risk"], ds["loss"] + 0.01 * penalty, rtol=1e-13)


def test_a_whole_problem_from_toml_to_survival_and_phase(tmp_path):
    """Symmetric matrix factorisation in at most 60 lines, under plain descent and under Adam."""
    lines = sum(len((OWN / f"factorisation.{end}").read_text().splitlines()) for end in ("py", "toml"))
    blank = sum(not line.strip() for line in (OWN / "factorisation.py").read_text().splitlines())
    assert lines - blank <= 60
    study = ens.Study.from_toml(OWN / "factorisation.toml")
    ds = ens.run(study, out=tmp_path / "out").load()
    loss = ds["loss"].median("seed")
    # Rank 1 leaves the second eigenvalue: ½·1²; rank 2 fits, whatever the scale.
    np.testing.assert_allclose(loss.sel(rank=1), 0.5, atol=1e-6)
    assert float(loss.sel(rank=2).max()) < 1e-12
    assert float(ds["effective_rank"].sel(rank=2).min()) == pytest.approx(2.0, abs=1e-4)
    # Over-parameterised factors stay of low rank from a small start, and not from a large one.
    assert float(ds["effective_rank"].sel(rank=4, scale=0.004).max()) < 2.05
    assert float(ds["effective_rank"].sel(rank=4, scale=0.4).median()) > 2.2
    median = analysis.survival(ds, "loss", below=0.01)["median"]
    assert np.all(np.isinf(median.sel(rank=1))) and np.all(np.diff(median.sel(rank=2).values) < 0)
    share = analysis.phase(ds, "rank", "scale", "loss", 0.01)["share"]
    assert float(share.sel(rank=1).max()) == 0.0 and float(share.sel(rank=2).min()) == 1.0
    adam = ens.run(study.replace(axes={"rank": [2]}, protocol={**study.protocol, "update": "adam", "step_size": 0.02}))
    assert float(adam["loss"].max()) < 1e-3 and adam.attrs["engine"] == "xla"


def test_resumed_with_the_same_bits_and_refused_when_its_source_changed(folder, tmp_path):
    study = ens.Study.from_toml(folder / "factorisation.toml").replace(seeds=2)
    out = tmp_path / "out"
    ens.run(study, out=out)
    more = ens.run(study.replace(seeds=3), out=out)
    assert_same_members(more, ens.run(study.replace(seeds=3)))
    source = folder / "factorisation.py"
    source.write_text(source.read_text().replace("0.5 * jnp.sum", "0.25 * jnp.sum"))
    changed = ens.Study.from_toml(folder / "factorisation.toml").replace(seeds=3)
    digests = [s.parts[0].digest for s in (study, changed)]
    with pytest.raises(ens.StudyError, match=rf"parts.factorisation.py: {digests[0]} there, {digests[1]} here"):
        ens.run(changed, out=out)
    first = [ds["loss_history"].isel(record=0).values for ds in (ens.run(changed), more)]
    np.testing.assert_allclose(2.0 * first[0], first[1], rtol=1e-15)


def test_a_part_inside_a_sum_is_one_of_the_study_s():
    ens.Study.from_toml(OWN / "two_layer.toml")  # registers them
    penalty = [{"kind": "cauchy", "strength": 0.5}, "l2"]
    study = ens.Study(
        name="sum",
        teacher={"kind": "orthonormal", "activation": "relu", "neurons": 2, "inputs": 2},
        student={"neurons": 3},
        protocol={"kind": "fixed_decay", "steps": 5, "penalty": penalty},
    )
    assert [Path(source.file).name for source in study.parts] == ["two_layer_parts.py"]


def test_a_moved_folder_is_the_same_study(folder, tmp_path):
    study = ens.Study.from_toml(folder / "factorisation.toml").replace(seeds=1)
    moved = Path(shutil.move(folder, tmp_path / "elsewhere"))
    again = ens.Study.from_toml(moved / "factorisation.toml").replace(seeds=1)
    assert study.hash == again.hash and study.parts[0].folder != again.parts[0].folder


def test_a_file_of_parts_may_be_named_by_its_whole_path(folder):
    text = (folder / "factorisation.toml").read_text()
    named = text.replace('"factorisation.py"', json.dumps(str((folder / "factorisation.py").resolve())))
    assert named != text
    (folder / "named.toml").write_text(named)
    assert ens.Study.from_toml(folder / "named.toml").members == ens.Study.from_toml(OWN / "factorisation.toml").members


def test_opened_and_analysed_by_an_interpreter_that_cannot_import_it(two_layer, folder, tmp_path):
    study = ens.Study.from_toml(folder / "factorisation.toml")
    ens.run(study.replace(seeds=2), out=tmp_path / "out")
    shutil.rmtree(folder)
    program = (
        "import sys, json, ensemble as ens, analysis\n"
        "ds = ens.open_dataset(sys.argv[1])\n"
        "share = analysis.phase(ds, 'rank', 'scale', 'loss', 0.01)['share']\n"
        "late = analysis.survival(ds, 'loss', below=0.01)['median']\n"
        "print(json.dumps([ds['effective_rank'].attrs['long_name'], share.values.tolist(), late.shape]))\n"
        "try:\n    ens.run(ens.Study.from_json(ds.attrs['study']))\n"
        "except ens.StudyError as error:\n    print(error)\n"
        "from tests.helpers import called\n"
        "called('ensemble', 'status', sys.argv[1]), called('analysis', 'summary', sys.argv[1])\n"
    )
    done = command("-c", program, tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said, error = done.stdout.splitlines()
    assert json.loads(said)[0] == "participation ratio of the singular values of U"
    assert json.loads(said)[1] == [[0.0, 1.0, 1.0]] * 3  # scale × rank
    assert "got 'factorisation.py', which is not there; it was looked for at" in error and str(folder) in error


def test_what_only_parts_of_a_two_layer_study_know_is_read_of_its_files(folder, tmp_path):
    """Own start, teacher, penalties, update, activation and probe, whose file was edited since."""
    study = ens.Study.from_toml(folder / "two_layer.toml")
    # A second generation with a wider student: its files have other sizes than those of the first one.
    for widths in ([3], [3, 5]):
        axes = {"width": {"field": "student.neurons", "values": widths}}
        ds = ens.run(study.replace(seeds=2, axes=axes), out=tmp_path / "out")
    ds.to_netcdf(tmp_path / "expected.nc")
    source = folder / "two_layer_parts.py"
    source.write_text(source.read_text() + "# A word more.\n")
    program = (
        "import sys, xarray, ensemble as ens\n"
        "from tests.helpers import called\n"
        "expected = xarray.load_dataset(sys.argv[2])\n"
        "xarray.testing.assert_identical(ens.open_dataset(sys.argv[1]).load(), expected)\n"
        "called('ensemble', 'status', sys.argv[1]), called('analysis', 'summary', sys.argv[1])\n"
        "called('analysis', 'survival', sys.argv[1], '--measure', 'loss', '--below', 0.1)\n"
        "called('ensemble', 'collect', sys.argv[1], sys.argv[3])\n"
        "collected = ens.open_dataset(sys.argv[3]).load()\n"
        "assert collected['student_neurons'].equals(expected['student_neurons']) and collected.equals(expected)\n"
    )
    done = command("-c", program, tmp_path / "out", tmp_path / "expected.nc", tmp_path / "all.nc", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_run_that_wrote_nothing_yet_is_opened_with_its_parts_alone(folder, tmp_path):
    study = ens.Study.from_toml(folder / "factorisation.toml").replace(seeds=1)
    ens.run(study, out=tmp_path / "out")
    for shard in (tmp_path / "out" / "shards").iterdir():
        shard.unlink()
    assert set(ens.open_dataset(tmp_path / "out")["status"].values.ravel()) == {ens.STATUS["not_run"]}
    shutil.rmtree(folder)
    with pytest.raises(ens.StoreError, match=r"holds no file yet .* parts that its study names cannot be imported"):
        ens.open_dataset(tmp_path / "out")


SCRIPT = """
import sys
from typing import Literal
import ensemble as ens
print("runs as", __name__)

@ens.register
class Half(ens.AbstractDifferentiatedPenalty):
    kind: Literal["half"] = "half"

    def value(self, model):
        return 0.5 * (model.U * model.U).sum()

study = ens.Study.from_toml(sys.argv[1]).replace(seeds=1, axes={"rank": [1]})
protocol = {"kind": "fixed_decay", "penalty": "half", "weight_decay": 0.1, "step_size": 0.01, "steps": 5}
ds = ens.run(study.replace(protocol=protocol), out=sys.argv[2])
again = ens.Study.from_json(ds.attrs["study"])
assert type(again.points[0].cell.stages.stages[0].penalty) is Half
print(*(part.file for part in again.parts))
"""


def test_a_script_that_registers_its_parts_is_run_once(folder, tmp_path):
    (folder / "script.py").write_text(SCRIPT)
    done = command("script.py", folder / "factorisation.toml", tmp_path / "out", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["runs as __main__", "factorisation.py script.py"]


def test_a_file_that_failed_to_be_imported_is_tried_again(folder):
    (folder / "factorisation.py").write_text((OWN / "factorisation.py").read_text() + "import missing_so_far\n")
    for _ in range(2):
        with pytest.raises(ens.StudyError, match="cannot be imported: ModuleNotFoundError"):
            ens.Study.from_toml(folder / "factorisation.toml")


def test_runs_on_a_worker_that_does_not_see_the_file(folder, tmp_path):
    from distributed import Client, LocalCluster

    from ensemble.launch.cluster import run_on_cluster

    study = ens.Study.from_toml(folder / "factorisation.toml").replace(seeds=2, axes={"rank": [1, 2]})
    expected = ens.run(study)
    shutil.rmtree(folder)
    folder.mkdir()
    texts = {s.digest: (OWN / s.file).read_text() for s in study.parts}
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,  # type: ignore[arg-type]
        Client(cluster) as client,
        pytest.MonkeyPatch.context() as patch,
    ):
        # The client still has the text; the worker has no such file.
        patch.setattr("ensemble.launch.cluster.texts_of", lambda _: tuple(texts.items()))
        ds = run_on_cluster(study, tmp_path / "out", client)
    assert_same_members(ds, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parts": ["nowhere.py"]}, r"parts: got 'nowhere.py', which is not there; it was looked for at"),
        ({"parts": "two_layer_parts.py"}, r"parts: got 'two_layer_parts.py'; give a list of files"),
        ({"parts": ["broken.py"]}, r"parts: .*broken.py cannot be imported: ZeroDivisionError"),
        ({"parts": ["helped.py"]}, r"No module named 'helper'; a file of parts is one file, .* installed package"),
        ({"parts": ["relative.py"]}, r"relative.py cannot .*; a file of parts is one file, .* installed package"),
        ({"parts": ["alone.py"]}, r"alone.py cannot be imported: ModuleNotFoundError: No module named 'nowhere'$"),
        ({"parts": ["leaving.py"]}, r"parts: .*leaving.py cannot be imported: SystemExit: 3"),
        ({"parts": ["latin.py"]}, r"parts: .*latin.py cannot be imported: its byte 2 is no UTF-8; save the file as"),
        ({"parts": ["two_layer_parts.py"]}, r"kind: got 'never'; known teachers are .*orthonormal"),
        (
            {"parts": ["two_layer_parts.py", "twin.py"]},
            r"parts.py and twin.py both have the activation 'cosine'",
        ),
    ],
)
def test_what_cannot_be_imported_is_said(folder, change, message):
    (folder / "broken.py").write_text("1 / 0\n")
    (folder / "helper.py").write_text("FACTOR = 2.0\n")
    (folder / "helped.py").write_text("from helper import FACTOR\n")
    (folder / "relative.py").write_text("from .helper import FACTOR\n")
    (folder / "alone.py").write_text("import nowhere\n")
    (folder / "leaving.py").write_text("raise SystemExit(3)\n")
    (folder / "latin.py").write_bytes(b"# \xfc\n")
    shutil.copy(folder / "two_layer_parts.py", folder / "twin.py")
    lines = (folder / "two_layer.toml").read_text().replace("fading", "never").splitlines()
    lines = [line for line in lines if not line.startswith("ratio")]
    lines = [f"parts = {json.dumps(change['parts'])}" if line.startswith("parts") else line for line in lines]
    (folder / "study.toml").write_text("\n".join(lines))
    with pytest.raises(ens.StudyError, match=message):
        ens.Study.from_toml(folder / "study.toml")


def test_register_refuses_what_is_no_part():
    with pytest.raises(TypeError, match="register: got int, which is no concrete part; subclass"):
        ens.register(int)
    with pytest.raises(
        TypeError, match="register: got AbstractPenalty, which is no concrete part: it lacks gradient, value"
    ):
        ens.register(ens.AbstractPenalty)

    class Relu(ens.AbstractPlainProbe):
        name = "loss"
        long_name = "another loss"

        def __call__(self, at):
            return at.moment.decay

    with pytest.raises(
        ValueError, match=r"register: the probe 'loss' of .*test_own_parts.py has the name of the package's own"
    ):
        ens.register(Relu)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"homogeneous": False}, "got Sech without symmetry; give the class .* which is 'line' or 'ray'"),
        ({"symmetry": "line"}, "got Sech without homogeneous; give the class .* which is True or False"),
        ({"homogeneous": False, "symmetry": "even"}, "got Sech with symmetry = 'even'; .* which is 'line' or 'ray'"),
    ],
)
def test_register_refuses_a_class_without_what_its_base_declares(attributes, message):
    def __call__(self, preactivation, norm):
        return 1.0 / jnp.cosh(preactivation)

    with pytest.raises(TypeError, match=rf"register: {message}"):
        ens.register(type("Sech", (ens.AbstractSeries,), {"name": "sech", "__call__": __call__} | attributes))
    assert "sech" not in ens.ACTIVATIONS

    class Unsaid(ens.AbstractPlainProbe):
        name = "unsaid"

        def __call__(self, at):
            return at.moment.decay

    with pytest.raises(TypeError, match=r"register: got Unsaid without long_name; .* which is a text"):
        ens.register(Unsaid)


class _Measuring(ens.AbstractPlainProbe):
    """Returns so many numbers, along what it says."""

    name = "measured"
    long_name = "numbers"
    count: int = 3

    def __call__(self, at):
        return jnp.zeros(self.count)


@pytest.mark.parametrize(
    ("dims", "count", "message"),
    [
        (("one", "two"), 3, r"dimensions one, two and returns an array of shape \(3,\); declare one for every"),
        ((), 3, r"dimensions none and returns an array of shape \(3,\)"),
        (("neuron",), 7, r"dimensions neuron \(3\) and returns an array of shape \(7,\); .* another name for each"),
        (("input",), 7, r"dimensions input \(2\) and returns an array of shape \(7,\)"),
    ],
)
def test_a_probe_that_returns_another_shape_than_it_declares_is_refused_first(
    tmp_path, monkeypatch, dims, count, message
):
    probe = type("Measuring", (_Measuring,), {"dims": dims, "__module__": __name__})(count)
    monkeypatch.setitem(ens.PROBES, "measured", probe)
    study = ens.Study(
        name="shapes",
        probes=["loss", "measured"],
        teacher={"kind": "orthonormal", "activation": "relu", "neurons": 2, "inputs": 2},
        student={"neurons": 3},
        protocol={"kind": "plain", "steps": 5},
    )
    with pytest.raises(ens.StudyError, match=f"probes: got 'measured', which declares the {message}"):
        ens.run(study, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("dims", [("seed",), ("mode", "stage"), ("step",), ("mode", "mode"), ("measured",), "mode"])
def test_dimensions_that_no_dataset_can_have_are_refused_as_a_probe_is_registered(dims):
    with pytest.raises(ValueError, match=r"dims: got .* of the probe 'measured'; (a dimension|give a tuple)"):
        ens.register(type("Measuring", (_Measuring,), {"dims": dims}))


SCALED = """
from typing import ClassVar, Literal
import jax
import ensemble as ens

@ens.register
class Scaled(ens.AbstractGradientUpdate):
    kind: Literal["scaled"] = "scaled"
    rotation_equivariant: ClassVar[bool] = True

    def limit(self):
        return 2.0

    def init(self, model):
        return ()

    def amount(self, gradient, state, model, step_size):
        return jax.tree.map(lambda g: FACTOR * step_size * g, gradient), state
"""


def test_two_classes_of_one_name_have_programs_of_their_own(tmp_path):
    """Same class, same kind, same numbers, another file: no program that was compiled for the one serves the other."""
    teacher = {"kind": "orthonormal", "activation": "relu", "neurons": 2, "inputs": 2}
    fields = {"probes": ["loss"], "records": 0, "teacher": teacher, "student": {"neurons": 2}, "store_weights": True}
    ran = []
    for factor in (1, 3):
        file = tmp_path / str(factor) / "mine.py"
        file.parent.mkdir()
        file.write_text(SCALED.replace("FACTOR", f"{factor}.0"))
        update = {"kind": "plain", "update": "scaled", "step_size": 0.1 / factor, "steps": 3}
        study = file.with_name("study.toml")
        study.write_text(tomli_w.dumps({**fields, "parts": ["mine.py"], "protocol": update}))
        ran.append(ens.run(study))
    hashes = {ds.attrs["study_hash"] for ds in ran}
    # Three times a third of the step is the same descent, to rounding; one program for both would give a third of it.
    np.testing.assert_allclose(ran[0]["W"], ran[1]["W"], rtol=1e-12)
    assert len(hashes) == 2


COUNTED = """
from typing import Literal
import jax
import jax.numpy as jnp
import ensemble as ens

@ens.register
class Counted(ens.AbstractGradientUpdate):
    kind: Literal["counted"] = "counted"

    def limit(self):
        return None

    def init(self, model):
        return {"n": jnp.zeros((), int)}

    def amount(self, gradient, state, model, step_size):
        return jax.tree.map(lambda g: step_size * g, gradient), AFTER
"""


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ('{"n": state["n"].astype(float) * 1.5}', r"n, int64 of shape \(\), becomes float64 of shape \(\); let `init`"),
        ('{"n": state["n"][None]}', r"n, int64 of shape \(\), becomes int64 of shape \(1,\)"),
        ("()", r"becomes PyTreeDef"),
    ],
)
def test_a_state_that_no_next_step_can_take_is_refused(tmp_path, after, said):
    (tmp_path / "mine.py").write_text(COUNTED.replace("AFTER", after))
    teacher = {"kind": "orthonormal", "activation": "relu", "neurons": 2, "inputs": 2}
    update = {"kind": "plain", "update": "counted", "steps": 3}
    fields = {"probes": ["loss"], "teacher": teacher, "student": {"neurons": 2}, "parts": ["mine.py"]}
    (tmp_path / "study.toml").write_text(tomli_w.dumps({**fields, "protocol": update}))
    with pytest.raises(ens.StudyError, match=rf"protocol.update: got 'counted', whose state is another .*{said}"):
        ens.run(tmp_path / "study.toml")
