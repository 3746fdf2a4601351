"""Reading files: ZigZag's examples as they are, our own format, YAML itself, and ONNX."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fastmap.constraints import ConstraintSet
from fastmap.errors import InputError
from fastmap.layer import Layer
from fastmap.loading import SCHEMA_KINDS, json_schema, load_architecture, load_constraints, load_mapping, load_workload
from fastmap.mapping import Constraints, SpatialMapping
from fastmap.readers import zigzag
from fastmap.readers.source import parse_document

ZIGZAG = Path(__file__).parent / "data" / "zigzag"


def write(folder: Path, text: str, name: str = "file.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


class TestYaml:
    def data(self, text):
        return parse_document(text, "f").data

    def test_scalars_follow_yaml_1_2(self):
        text = "[no, on, 1:30, 010, 0x1f, 1e9, 1.5, -3, 1_000, true, ~, 'true', \"3\", .inf, 1e9x, '']"
        assert self.data(text) == [
            "no", "on", "1:30", 10, 31, 1e9, 1.5, -3, 1000, True, None, "true", "3", float("inf"), "1e9x", "",
        ]  # fmt: skip

    def test_keys_are_text(self):
        assert self.data("{1: a, true: b, 2.5: c}") == {"1": "a", "true": "b", "2.5": "c"}

    def test_json_with_tabs(self):
        assert self.data('{"a": [1,\n\t2]}') == {"a": [1, 2]}

    def test_anchors_and_merging(self):
        text = "base: &b {x: 1, y: 2}\nother: {<<: *b, y: 3}\nsame: *b"
        assert self.data(text) == {"base": {"x": 1, "y": 2}, "other": {"x": 1, "y": 3}, "same": {"x": 1, "y": 2}}
        assert parse_document(text, "f").duplicates() == []

    def test_merging_several(self):
        assert self.data("a: &a {x: 1}\nb: &b {x: 2, y: 3}\nc: {<<: [*a, *b]}")["c"] == {"x": 1, "y": 3}

    def test_lines(self):
        document = parse_document("a:\n  b: [1,\n    2]\n  c: x\n", "f")
        places = ((), ("a",), ("a", "b"), ("a", "b", 1), ("a", "c"))
        assert [document.line(where) for where in places] == [
            1,
            1,
            2,
            3,
            4,
        ]
        assert document.line(("a", "b", 7)) == 2
        assert document.line(("nowhere",)) == 1

    def test_duplicates_are_found_everywhere(self):
        document = parse_document("a: [{x: 1, y: 2, x: 3}]\nb: 1\nb: 2", "f")
        assert sorted(where for where, _ in document.duplicates()) == [("a", 0, "x"), ("b",)]
        assert document.data["b"] == 2

    def test_byte_order_marks(self, tmp_path):
        text = "name: x\nlayers: {a: {K: 2}}"
        for encoding in ("utf-8-sig", "utf-16"):
            path = tmp_path / f"{encoding}.yaml"
            path.write_bytes(text.encode(encoding))
            assert load_workload(path).name == "x"

    def test_a_large_honest_file_is_read(self, tmp_path):
        text = "layers:\n" + "".join(f"  fc{i}: {{K: 2, C: 3}}\n" for i in range(2000))
        assert len(load_workload(write(tmp_path, text))) == 2000


class TestZigZagAccelerators:
    @pytest.mark.parametrize("path", sorted(ZIGZAG.glob("hardware/*.yaml")), ids=lambda path: path.stem)
    def test_every_example_is_read(self, path):
        arch = load_architecture(path)
        assert arch.memories
        assert arch.array.kind == {"aimc": "analog", "dimc": "digital"}.get(path.stem, "mac")

    def test_values(self):
        arch = load_architecture(ZIGZAG / "hardware" / "aimc.yaml")
        assert arch.array.dimensions == {"D1": 128, "D2": 128}
        assert (arch.array.adc_bits, arch.array.bits_per_cycle, arch.array.cycles_per_operation) == (8, 2, 4)
        sram = arch.memory("sram_256KB")
        assert (sram.size_bits, sram.read_energy_pj, sram.write_energy_pj) == (262144, 416.16, 378.4)
        assert sram.operands == ("I", "O")
        assert sram.ports[0].transfers == (("I", "rd_out_to_low"), ("O", "rd_out_to_low"), ("O", "rd_out_to_high"))
        assert (sram.ports[0].bandwidth_min_bits, sram.ports[0].bandwidth_max_bits) == (64, 512)

    def test_precision_of_activations_comes_first(self):
        arch = load_architecture(Path(__file__).parent / "data" / "oracle" / "hw" / "v1_aimc_small.yaml")
        assert (arch.array.activation_bits, arch.array.weight_bits) == (8, 4)

    def test_forced_double_buffering(self):
        arch = load_architecture(Path(__file__).parent / "data" / "oracle" / "hw" / "v5_aimc_db.yaml")
        assert [memory.name for memory in arch.memories if memory.double_buffered] == ["gb"]

    def test_the_last_port_that_claims_a_transfer_gets_it_and_the_user_is_told(self):
        arch = load_architecture(ZIGZAG / "hardware" / "generic_array_cacti.yaml")
        sram = arch.memory("sram_32MB")
        assert sram.port("O", "rd_out_to_low") == 1
        assert any("port r_port_1 shares transfers with later ports" in sentence for sentence in arch.warnings)

    def test_a_key_that_stands_twice_is_told(self):
        arch = load_architecture(ZIGZAG / "hardware" / "tpu_like.yaml")
        assert any("the key ports stands twice, on lines 67 and 74" in sentence for sentence in arch.warnings)

    def test_a_repeated_dram_is_told(self):
        arch = load_architecture(ZIGZAG / "hardware" / "ascend_like.yaml")
        assert "memory dram does not serve D3, D4 and is therefore repeated 4 times" in arch.warnings


LAYER = """
- id: 0
  operator_type: Conv
  equation: {equation}
  dimension_relations: [{relations}]
  loop_dims: [{dims}]
  loop_sizes: [{sizes}]
  operand_precision: {{W: 4, I: 8, O: 24, O_final: 8}}
"""


def one_layer(equation, dims, sizes, relations="", more=""):
    text = LAYER.format(equation=equation, dims=dims, sizes=sizes, relations=relations) + more
    return zigzag.workload(parse_document(text, "f"), "x")[0]


class TestZigZagWorkloads:
    def test_resnet18(self):
        net = load_workload(ZIGZAG / "workload" / "resnet18.yaml")
        assert len(net) == 21
        assert net.macs == 1_968_214_016
        first = net["example_name_of_layer0"]
        assert first.dimension_order == ("B", "K", "C", "OY", "OX", "FY", "FX")
        assert (first.stride_x, first.stride_y, first.size("OX"), first.size("FX")) == (2, 2, 112, 7)
        assert first.operand_order == ("O", "W", "I")
        assert net.skipped["pooling_1"] == "Pooling"
        assert net.sources["add_4"] == ("conv_3", "pooling_1")
        assert "example_name_of_layer0" not in net.sources
        assert net.nodes[:3] == ("example_name_of_layer0", "pooling_1", "conv_2")

    def test_gemm_with_numbered_dimensions(self):
        (layer,) = load_workload(ZIGZAG / "workload" / "gemm_layer.yaml")
        assert layer.sizes == {"B": 128, "K": 128, "C": 128}
        assert layer.aliases == {"D0": "B", "D1": "K", "D2": "C"}
        assert not layer.sliding_window
        assert layer.operand_order == ("O", "I", "W")
        assert (layer.output_bits, layer.operator) == (32, "Gemm")

    def test_order_of_loop_dims_is_kept(self):
        layer = one_layer("O[d][k]+=I[d][c]*W[c][k]", "C, D, K", "5, 6, 7")
        assert list(layer.sizes.items()) == [("C", 5), ("B", 6), ("K", 7)]

    def test_an_index_of_all_three_is_a_group(self):
        layer = one_layer("O[h][m][n]+=I[h][m][c]*W[h][c][n]", "H, M, N, C", "2, 3, 4, 5")
        assert layer.sizes == {"G": 2, "B": 3, "K": 4, "C": 5}

    def test_loops_that_play_the_same_part_become_one(self):
        layer = one_layer("O[b][d][k]+=I[b][d][c]*W[c][k]", "B, D, K, C", "2, 3, 4, 5")
        assert layer.sizes == {"B": 6, "K": 4, "C": 5}

    def test_strides_and_dilations(self):
        layer = one_layer(
            "O[k][oy][ox]+=W[k][fy][fx]*I[iy][ix]",
            "K, OY, OX, FY, FX",
            "2, 10, 20, 3, 5",
            "ix=2*ox+3*fx, iy = oy + 4*fy",
        )
        assert (layer.stride_x, layer.dilation_x, layer.stride_y, layer.dilation_y) == (2, 3, 1, 4)
        assert (layer.size("FX"), layer.size("FY"), layer.size("OX")) == (5, 3, 20)

    def test_window_indices_of_any_name(self):
        layer = one_layer("O[n][q][p]+=W[n][s][r]*I[v][u]", "N, Q, P, S, R", "2, 10, 20, 3, 5", "u=2*p+1*r, v=1*q+1*s")
        assert (layer.size("OX"), layer.size("FX"), layer.stride_x) == (20, 5, 2)
        assert (layer.size("OY"), layer.size("FY"), layer.stride_y) == (10, 3, 1)
        assert layer.aliases == {"N": "K", "Q": "OY", "P": "OX", "S": "FY", "R": "FX"}

    def test_the_input_size_clips(self):
        more = "  pr_loop_dims: [IX, IY]\n  pr_loop_sizes: [20, 10]\n  padding: [[1, 2], [3, 4]]\n"
        layer = one_layer(
            "O[k][oy][ox]+=W[k][fy][fx]*I[iy][ix]", "K, OY, OX, FY, FX", "2, 10, 20, 3, 3", "ix=ox+fx, iy=oy+fy", more
        )
        assert (layer.clip_x, layer.clip_y) == (20, 10)
        assert (layer.padding_x, layer.padding_y) == ((1, 2), (3, 4))

    def test_final_width_defaults_to_the_width_of_partial_sums(self):
        text = LAYER.format(equation="O[k]+=I[c]*W[c][k]", dims="K, C", sizes="2, 3", relations="")
        layer = zigzag.workload(parse_document(text.replace(", O_final: 8", ""), "f"), "x")[0]
        assert layer.output_final_bits == 24


class TestZigZagMappings:
    @pytest.mark.parametrize("path", sorted(ZIGZAG.glob("mapping/*.yaml")), ids=lambda path: path.stem)
    def test_every_example_is_read(self, path):
        found = load_constraints(path)
        assert isinstance(found, ConstraintSet)
        assert "default" in found.rules

    def test_hints(self):
        constraints = load_constraints(ZIGZAG / "mapping" / "default_imc.yaml").for_layer(Layer(K=4, C=3, OX=5))
        assert constraints == Constraints(allowed={"D1": ("K",), "D2": ("C", "FX", "FY")})

    def test_fixed_factors_are_cut_to_the_loops(self):
        constraints = load_constraints(ZIGZAG / "mapping" / "default.yaml").for_layer(Layer(K=4, C=1, OX=5))
        assert constraints == Constraints(spatial=SpatialMapping(unrolling={"D1": {"K": 4}, "D2": {}}))

    def test_layer_name_then_operator_then_default(self):
        found = load_constraints(ZIGZAG / "mapping" / "tpu_like.yaml")
        named = found.for_layer(Layer(name="example_name_of_layer0", K=64, C=64, OX=112))
        assert named.spatial is not None
        assert named.spatial.unrolling == {"D1": {"C": 32}, "D2": {"K": 32}}
        assert named.temporal == (("OX", 112), ("OY", 112), ("FX", 7), ("FY", 7), ("K", 2))
        add = found.for_layer(Layer(name="x", operator="Add", K=64, G=64, OX=112))
        assert add.spatial is not None
        assert add.spatial.unrolling["D1"] == {"G": 32}
        other = found.for_layer(Layer(name="x", K=64, C=64))
        assert other.spatial is not None
        assert other.spatial.unrolling["D1"] == {"K": 32}

    def test_hints_count_where_nothing_is_fixed(self):
        found = load_constraints(ZIGZAG / "mapping" / "meta_prototype_like_mixed.yaml").for_layer(
            Layer(K=64, C=64, OX=8, OY=8)
        )
        assert found.allowed == {"D2": ("C",)}
        assert found.spatial is not None
        assert set(found.spatial.unrolling) == {"D1", "D3", "D4"}

    def test_names_of_the_workload_file_and_all_that_remain(self):
        (layer,) = load_workload(ZIGZAG / "workload" / "gemm_layer.yaml")
        found = load_constraints(ZIGZAG / "mapping" / "gemm_l1.yaml")
        arch = load_architecture(ZIGZAG / "hardware" / "gemm_l1.yaml")
        constraints = found.for_layer(layer, arch)
        assert constraints.spatial is not None
        assert constraints.spatial.unrolling == {"D1": {"B": 8}, "D2": {"C": 8}, "D3": {"K": 8}}
        assert constraints.temporal == (("K", 16), ("C", 16), ("B", 16))
        with pytest.raises(InputError, match="needs a fixed spatial_mapping"):
            found.for_layer(layer)

    def test_a_layer_without_the_loop(self):
        found = load_constraints(ZIGZAG / "mapping" / "gemm_l1.yaml")
        with pytest.raises(InputError, match="layer conv has no loop dimension D0"):
            found.for_layer(Layer(name="conv", K=4))


ARCHITECTURE = """
array: {kind: digital, dimensions: {D1: 4, D2: 8}}
memories:
  cells: {operands: W, size_bits: 8, write_energy_pj: 0.1}
  dram: {operands: [W, I, O], size_mib: 1, bandwidth_bits: 64, read_energy_pj: 1, write_energy_pj: 2}
"""


class TestNativeArchitectures:
    def test_short_form(self, tmp_path):
        arch = load_architecture(write(tmp_path, ARCHITECTURE, "tiny.yaml"))
        assert arch.name == "tiny"
        cells, dram = arch.memories
        assert (cells.serves, cells.read_energy_pj, cells.size_bits) == ((), 0.0, 8)
        assert [(port.kind, port.bandwidth_max_bits) for port in cells.ports] == [("read_write", 8)]
        assert (dram.size_bits, dram.serves) == (8 * 2**20, ("D1", "D2"))
        assert [(port.name, port.kind) for port in dram.ports] == [("read", "read"), ("write", "write")]
        assert dram.ports[0].transfers == (("W", "rd_out_to_low"), ("I", "rd_out_to_low"), ("O", "rd_out_to_low"))
        assert dram.ports[1].transfers == (("O", "wr_in_by_low"),)

    @pytest.mark.parametrize(
        ("size", "bits"),
        [
            ("size_bits: 800_000", 800_000),
            ("size_bytes: 100000", 800_000),
            ("size_kib: 2", 2**14),
            ("size_mib: 3", 3 * 2**23),
        ],
    )
    def test_size_units(self, tmp_path, size, bits):
        arch = load_architecture(write(tmp_path, ARCHITECTURE.replace("size_mib: 1", size)))
        assert arch.memory("dram").size_bits == bits

    @pytest.mark.parametrize(
        ("ports", "kinds"),
        [
            ("ports: 1", ["read_write"]),
            ("ports: 2", ["read", "write"]),
            ("ports: separate", ["read", "read", "read", "write"]),
            ("ports: {a: {transfers: [W tl]}, b: }", ["read", "read_write"]),
            ("ports: {r: {kind: read}, w: {kind: write, bandwidth_bits: [8, 16]}}", ["read", "write"]),
        ],
    )
    def test_ports(self, tmp_path, ports, kinds):
        text = ARCHITECTURE.replace("size_mib: 1", f"size_mib: 1, {ports}")
        dram = load_architecture(write(tmp_path, text)).memory("dram")
        assert [port.kind for port in dram.ports] == kinds
        assert sum(len(port.transfers) for port in dram.ports) == 4

    def test_served_dimensions(self, tmp_path):
        for words, serves in (("D2", ("D2",)), ("[D1]", ("D1",)), ("all", ("D1", "D2")), ("none", ())):
            text = ARCHITECTURE.replace("size_mib: 1", f"size_mib: 1, serves: {words}")
            assert load_architecture(write(tmp_path, text)).memory("dram").serves == serves


class TestNativeWorkloads:
    def load(self, folder, text):
        return load_workload(write(folder, text, "net.yaml"))

    def test_orders_defaults_and_edges(self, tmp_path):
        net = self.load(
            tmp_path,
            """
            defaults: {weight_bits: 4}
            layers:
              conv: {C: 3, K: 16, OX: 8, OY: 9, FX: 3, FY: 5, stride: 2, input_x: 17, input_y: 21, padding_x: [0, 1]}
              pool: {skip: MaxPool}
              conv2: {K: 16, C: 16, OX: 1, weight_bits: 8}
              add: {skip: Add, from: [conv2, pool]}
              fc: {K: 10, C: 16}
            """,
        )
        assert net.name == "net"
        conv, conv2, fc = net
        assert conv.dimension_order == ("C", "K", "OX", "OY", "FX", "FY")
        assert (conv.stride_x, conv.stride_y, conv.clip_x, conv.clip_y, conv.padding_x) == (2, 2, 17, 21, (0, 1))
        assert (conv.weight_bits, conv2.weight_bits) == (4, 8)
        assert (conv2.sliding_window, fc.sliding_window, fc.operator) == (True, False, "Gemm")
        assert net.sources == {"pool": ("conv",), "conv2": ("pool",), "add": ("conv2", "pool"), "fc": ("add",)}
        assert net.skipped == {"pool": "MaxPool", "add": "Add"}
        assert net.nodes == ("conv", "pool", "conv2", "add", "fc")

    def test_no_source(self, tmp_path):
        net = self.load(tmp_path, "layers: {a: {K: 2}, b: {K: 2, from: []}, c: {K: 2, from: a}}")
        assert net.sources == {"c": ("a",)}


class TestNativeConstraintsAndMappings:
    def test_constraints(self, tmp_path):
        found = load_constraints(
            write(
                tmp_path,
                "loop_factor_limit: 6\nspatial: {D1: {K: 4}}\nlayers:\n  fc: {loop_factor_limit: 8}\n  other:\n",
            )
        )
        assert found.for_layer(Layer(name="fc", K=4)).loop_factor_limit == 8
        assert found.for_layer(Layer(name="other", K=4)).loop_factor_limit == 6
        assert found.for_layer(Layer(name="fc", K=4)).spatial == SpatialMapping(unrolling={"D1": {"K": 4}})

    def test_constraints_of_all_layers_as_one_object(self, tmp_path):
        path = write(tmp_path, "loop_factor_limit: 6")
        assert Constraints.load(path) == Constraints(loop_factor_limit=6)
        with pytest.raises(InputError, match="use load_constraints"):
            Constraints.load(write(tmp_path, "layers: {a: {loop_factor_limit: 6}}"))
        with pytest.raises(InputError, match="like ZigZag's mapping files; use load_constraints"):
            Constraints.load(ZIGZAG / "mapping" / "default.yaml")

    def test_mapping_from_json(self, tmp_path):
        path = write(tmp_path, '{"spatial": {"D1": {"K": 64}},\n\t"temporal": [["OX", 7]]}', "m.json")
        assert load_mapping(path).temporal == (("OX", 7),)


class TestSchemas:
    def test_known_kinds(self):
        for kind in SCHEMA_KINDS:
            schema = json_schema(kind)
            assert schema["type"] == "object"
            assert schema["additionalProperties"] is False

    def test_keys_are_those_of_the_files(self):
        assert set(json_schema("mapping")["properties"]) == {"spatial", "temporal", "allocation"}
        layer = json_schema("workload")["$defs"]["LayerFile"]["properties"]
        assert {"K", "from", "skip", "stride"} <= set(layer)
        assert "unrolling" not in str(json_schema("mapping")["$defs"]["SpatialMapping"])

    def test_unknown_kind(self):
        with pytest.raises(InputError, match="did you mean workload"):
            json_schema("workloads")


class TestLoading:
    def test_zoo_names(self):
        assert load_architecture("aimc").name == "aimc"
        assert load_workload("resnet8").name == "resnet8"

    def test_loaded_objects_pass_through(self):
        arch, net = load_architecture("aimc"), load_workload("resnet8")
        assert load_architecture(arch) is arch
        assert load_workload(net) is net

    def test_a_file_of_that_name_comes_first(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "aimc").write_text(ARCHITECTURE.replace("array:", "name: mine\narray:"), encoding="utf-8")
        assert load_architecture("aimc").name == "mine"

    def test_a_folder_of_that_name_does_not(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "aimc").mkdir()
        assert load_architecture("aimc").name == "aimc"

    def test_unknown_names_list_the_zoo(self):
        with pytest.raises(InputError, match=r"there is no architecture aimcc; did you mean aimc\? \(zoo: aimc, "):
            load_architecture("aimcc")
        with pytest.raises(InputError, match=r"there is no workload resnet; did you mean resnet"):
            load_workload("resnet")
        with pytest.raises(InputError, match=r"there is no file nothing.yaml"):
            load_workload("nothing.yaml")

    def test_a_mapping_is_not_a_list(self):
        with pytest.raises(InputError, match="constraints of a search and not one mapping"):
            load_mapping(ZIGZAG / "mapping" / "default.yaml")


def test_onnx_without_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match=r"needs the extra onnx: pip install 'fastmap\[onnx\]'"):
        load_workload(tmp_path / "m.onnx")
