"""What cannot be held, or is no number where one is wanted: refused at once, in a sentence."""

import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

import ensemble as ens
from ensemble import memory
from ensemble.dynamics.protocols import PROTOCOLS
from ensemble.engine import EngineError, granted_cores
from ensemble.engine.kernels import simd
from ensemble.parts import REGISTRY, is_own
from ensemble.plan import sizes
from ensemble.study import checks
from tests.helpers import assert_identical
from tests.studies import heavy_tailed, tiny

GIBIBYTES = 2**30


@pytest.fixture
def sixteen_gibibytes(monkeypatch):
    for module in (sizes, checks):
        monkeypatch.setattr(module, "memory", lambda: 16.0 * GIBIBYTES)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (
            lambda: ens.run(tiny(axes={}, seeds=2 * 10**9)),
            r"seeds: got 2,000,000,000 members \(2,000,000,000\), of which the dataset without `out` takes \d+\.\d GiB",
        ),
        (
            lambda: ens.run(tiny(student={"neurons": 20_000, "start": "balanced"})),
            r"student.neurons: got members of 20,000 neuron, 2 teacher_neuron, 4 input \(at .* 0.0\): .* GiB",
        ),
        (
            lambda: tiny(axes={name: [i / 300 + 0.01 for i in range(300)] for name in AXES}),
            r"axes: got 27,000,000 cells \(300 × 300 × 300\), which take 276\.6 GiB before anything runs, .* 16\.0 GiB",
        ),
    ],
)
def test_sizes_are_refused_before_work(make, match, sixteen_gibibytes):
    with pytest.raises(ens.StudyError, match=match):
        make()


AXES = ("weight_decay", "separation", "step_size")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"student": {"neurons": 10**400, "start": "balanced"}}, "student.neurons"),
        ({"data": {"samples": 10**400}}, "data.samples"),
        ({"data": {"online": True, "batch": 10**400}}, "data.batch"),
        ({"student": {"extra_neurons": 10**400, "start": "balanced"}}, "student.extra_neurons"),
    ],
)
def test_counts_beyond_floats_are_refused_by_their_field(changes, field):
    with pytest.raises(ens.StudyError, match=rf"{field}: got 1000.*less than or equal to 9007199254740992"):
        tiny(**changes)


def test_a_directory_needs_no_memory_for_results(sixteen_gibibytes, tmp_path):
    with pytest.raises(ens.StudyError, match=r"seeds: got 4,000,000,000 members .* of which the list takes 74.5 GiB"):
        ens.run(tiny(axes={}, seeds=4 * 10**9), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_seeds_that_a_generator_cannot_tell_apart_are_refused():
    with pytest.raises(
        ens.StudyError, match=r"seeds: got 4294967297; input should be less than or equal to 4294967296"
    ):
        tiny(seeds=2**32 + 1)
    with pytest.raises(ens.StudyError, match=r"seed: got 4294967296; seeds are 0, 1, … 4294967295"):
        ens.initial(tiny(axes={}), 2**32)


def test_memory_is_the_least_of_what_there_is(monkeypatch):
    assert memory.memory() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    monkeypatch.setattr(memory.resource, "getrlimit", lambda _: (GIBIBYTES, GIBIBYTES))
    assert memory.memory() == GIBIBYTES
    assert [memory.in_words(size) for size in (GIBIBYTES / 2, 3000 * GIBIBYTES)] == ["0.5 GiB", "2.93 TiB"]


@pytest.mark.parametrize("command", ["-m ensemble show", "-c 'import gd_atlas; gd_atlas.main()' show"])
def test_too_little_memory_for_the_libraries_is_said(command):
    words = f"ulimit -v 1000000; {sys.executable} {command} studies/width.toml"
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, cwd=Path.cwd(), check=False)
    assert done.returncode
    expected = "gd-atlas: this process may have 1.0 GiB of address space (ulimit -v), and its libraries need 1.5 GiB"
    assert expected in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("value", ["²", "two", "0", "-1", "1.5"])
def test_cores_that_are_no_number(value, monkeypatch):
    monkeypatch.setenv("GD_ATLAS_CORES", value)
    with pytest.raises(EngineError, match=f"GD_ATLAS_CORES: got {value!r}; give the number of cores"):
        granted_cores()


@pytest.mark.parametrize(("planned", "running"), [(1, 4), (4, 1)])
def test_scratch_arrays_suffice_whatever_the_cores_become(planned, running, monkeypatch):
    """Lanes are planned for so many cores, and advance on another number of them: a thread has its own array."""
    study = heavy_tailed(seeds=64, max_steps=200, probes=["loss"])
    expected = ens.run(study)
    assert expected.attrs["engine"] == "simd"
    monkeypatch.setattr(simd, "granted_cores", lambda: planned)
    monkeypatch.setenv("GD_ATLAS_CORES", str(running))
    assert_identical(ens.run(study), expected)


class _Lenient(GenerateJsonSchema):
    """Of what is no JSON, such as a mask by a function, nothing is said."""

    def handle_invalid_for_json_schema(self, schema, error_info):
        return {}


def whole_numbers(schema) -> list[dict]:
    """Every schema of a whole number in a schema."""
    inner = list(schema.values()) if isinstance(schema, dict) else schema if isinstance(schema, list) else []
    own = [schema] if isinstance(schema, dict) and schema.get("type") == "integer" else []
    return own + [found for part in inner for found in whole_numbers(part)]


def fields_of_everything() -> dict[str, Any]:
    """The annotation of every field of every part, stage and protocol, by name."""
    specs = {f"{role}.{name}": part for role, parts in REGISTRY.items() for name, part in parts.items()}
    # Tests beside these register parts of their own.
    specs = {name: part for name, part in specs.items() if hasattr(part, "model_fields") and is_own(part)}
    specs["study"] = ens.Study
    found = {
        f"{name}.{field}": Annotated[info.annotation, info]
        for name, spec in specs.items()
        for field, info in spec.model_fields.items()
        if (name, field) != ("study", "axes")  # values of an axis are those of the fields that it sets
    }
    for name, build in PROTOCOLS.items():
        arguments = inspect.signature(build, eval_str=True).parameters.values()
        found |= {f"protocol.{name}.{argument.name}": argument.annotation for argument in arguments}
    return found


def test_every_whole_number_has_a_bound():
    # A number of hundreds of digits is one in a study file; what is computed of it as a float ends in a traceback.
    numbers = {
        name: whole_numbers(TypeAdapter(field).json_schema(schema_generator=_Lenient))
        for name, field in fields_of_everything().items()
    }
    assert sum(map(len, numbers.values())) > 40
    endless = [name for name, some in numbers.items() for one in some if not {"maximum", "exclusiveMaximum"} & set(one)]
    assert not endless
