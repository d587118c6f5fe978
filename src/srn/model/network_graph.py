"""The network as a lean ONNX graph: the numbers of `StructuralRelationNetwork` by fewer and larger operations.

Linear layers that read the same input stand side by side, and those that follow each other directly are one. Sampling
gathers a window of cells around each landmark and multiplies it by a matrix of bilinear weights, because ONNX Runtime's
GridSample takes several times as long.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import onnx
from torch import nn

from srn.face.scheme import REGIONS
from srn.model.encoder import FINE, MIDDLE, PATCH, PatchEncoder, ResidualBlock, SharedMapEncoder
from srn.model.graph import Graph
from srn.model.hourglass import Bottleneck, Hourglass, HourglassInitializer
from srn.model.hsrm import COMPONENT_REGIONS, HierarchicalStructuralRelation
from srn.model.network import TINY, DirectionHead, StructuralRelationNetwork
from srn.model.non_local import NonLocalBlock
from srn.model.sampling import Grid


class _Map(NamedTuple):
    """Cells of all faces' maps: `values` (B * size * size, C), and the index of each face's `first` (B, 1, 1, 1)."""

    values: str
    first: str
    size: int
    channels: int


class NetworkGraph:
    """Write the graph of a network; `model` gives it."""

    def __init__(self, network: StructuralRelationNetwork, *, half: bool) -> None:
        self._g = Graph(network, half=half)
        self._network = network
        self._config = network.config
        self._n = network.config.scheme.n_points
        # Of x, the features that the non-local block compares: one position for each landmark, or four with patches.
        self._channels = 64 if isinstance(network.encoder, PatchEncoder) else network.config.landmark_features
        self._positions = self._n * network.config.landmark_features // self._channels

    def model(self) -> onnx.ModelProto:
        """Return the model: inputs and outputs are those of the runtime."""
        g, n, config = self._g, self._n, self._config
        maps, start = self._encode("image")
        weight = g.reshape("initial_weight", -1, 1, 1)
        shape = g.add("Add", start, g.add("Mul", g.add("Sub", "initial_shape", start), weight))
        state, shapes, relational, samples = "hidden", [], "", list[str]()
        for _ in range(config.iterations):
            x, samples = self._features(maps, shape)  # (B, N * positions, C)
            flat = g.reshape(x, 0, n * config.landmark_features)
            memory = state if config.recurrence == "iteration" else "hidden"
            state = g.add("Tanh", g.linear(g.join(flat, memory, axis=1), self._network.recurrent))
            relational = x if self._network.non_local is None else self._non_local(x, self._network.non_local)
            relational = g.reshape(relational, 0, n, config.landmark_features)
            residual = self._residual(relational, state)
            shape = g.add("Add", shape, g.add("Mul", residual, g.constant(config.face_size)))
            shapes.append(g.add("Unsqueeze", shape, g.whole([1])))
        g.add("Concat", *shapes, output="shapes", axis=1)
        g.add("Identity", state, output="hidden_out")
        outputs = {"shapes": [config.iterations, n, 2], "hidden_out": [config.hidden_size]}
        if self._network.point_heads is not None:
            self._point_heads(relational, state, partial(self._read, maps, samples))
            outputs |= {"visibility": [n], "expected_error": [n]}
        if self._network.direction_head is not None:
            self._direction(self._network.direction_head, relational, state, shape)
            outputs |= {"error_direction": [n, 2]}
        size = config.crop_size
        inputs = {
            "image": [3, size, size],
            "initial_shape": [n, 2],
            "hidden": [config.hidden_size],
            "initial_weight": [],
        }
        return g.model(inputs, outputs)

    # --- once per face

    def _encode(self, image: str) -> tuple[tuple[_Map, ...], str]:
        """Add what each face needs once: the maps, and the initial shape (B or 1, N, 2)."""
        g, config, network = self._g, self._config, self._network
        spec, size, moved = config.crop_spec, config.crop_size, None
        if isinstance(network.encoder, PatchEncoder):
            maps: tuple[_Map, ...] = (self._cells(image, size, 3),)
        else:
            fine, middle, coarse = self._pyramid(image, network.encoder)
            channels = config.map_channels
            maps = (
                self._cells(fine, size // FINE.stride, channels[0]),
                self._cells(middle, size // MIDDLE.stride, channels[1]),
            )
            if network.coarse is not None:
                moved = g.add("Mul", g.layers(coarse, network.coarse), g.constant(config.face_size))
        if network.hourglass is not None:
            return maps, self._hourglass_shape(image, network.hourglass)
        placed = g.add("Mul", g.parameter(network, "mean_shape"), g.constant(spec.face_size))
        start = g.reshape(g.add("Add", placed, g.constant(spec.center)), 1, self._n, 2)
        return maps, start if moved is None else g.add("Add", start, g.reshape(moved, -1, self._n, 2))

    def _on_pixels(self, image: str, *layers: nn.Module) -> str:
        """Add layers on (image - 0.5) * 4; beyond its edge that is 0."""
        return self._g.layers(self._g.add("Sub", image, self._g.constant(0.5)), *layers, gain=4)

    def _cells(self, feature_map: str, size: int, channels: int) -> _Map:
        g = self._g
        values = g.reshape(g.add("Transpose", feature_map, perm=[0, 2, 3, 1]), -1, channels)
        batch = g.add("Squeeze", g.add("Shape", feature_map, start=0, end=1))
        first = g.add("Range", g.whole(0), g.add("Mul", batch, g.whole(size * size)), g.whole(size * size))
        return _Map(values, g.reshape(first, -1, 1, 1, 1), size, channels)

    def _pyramid(self, image: str, encoder: SharedMapEncoder) -> tuple[str, str, str]:
        g = self._g
        level4 = self._stage(self._on_pixels(image, encoder.stem), encoder.stage4)
        level8 = self._stage(level4, encoder.stage8)
        level16 = self._stage(level8, encoder.stage16)
        above = g.enlarge(g.layers(level16, encoder.lateral8))
        level8 = g.layers(g.add("Add", level8, above), nn.ReLU(), encoder.merge8, nn.ReLU())
        above = g.enlarge(g.layers(level8, encoder.lateral4))
        level4 = g.layers(g.add("Add", level4, above), nn.ReLU(), encoder.merge4, nn.ReLU())
        return level4, level8, level16

    def _stage(self, x: str, blocks: nn.Sequential) -> str:
        for block in blocks:
            assert isinstance(block, ResidualBlock)
            y = self._g.layers(x, block.conv1, block.norm1, nn.ReLU(), block.conv2, block.norm2)
            x = self._g.add("Relu", self._g.add("Add", y, self._g.layers(x, block.shortcut)))
        return x

    def _hourglass_shape(self, image: str, initializer: HourglassInitializer) -> str:
        g, size = self._g, self._config.crop_size // initializer.STRIDE
        *layers, bottleneck = initializer.stem
        x = self._hourglass(self._bottleneck(self._on_pixels(image, *layers), bottleneck), initializer.hourglass, size)
        heat = g.reshape(g.layers(x, initializer.head), 0, self._n, size * size)
        weights = g.reshape(g.add("Softmax", heat, axis=2), 0, self._n, size, size)
        places = g.constant(np.arange(size) * initializer.STRIDE + (initializer.STRIDE - 1) / 2)
        sums = (g.add("ReduceSum", weights, g.whole([axis]), keepdims=0) for axis in (2, 3))
        means = (g.add("ReduceSum", g.add("Mul", s, places), g.whole([2]), keepdims=1) for s in sums)
        return g.join(*means, axis=2)

    def _hourglass(self, x: str, hourglass: nn.Module, size: int) -> str:
        if isinstance(hourglass, Bottleneck):
            return self._bottleneck(x, hourglass)
        assert isinstance(hourglass, Hourglass)
        g, half = self._g, (size + 1) // 2
        lower = self._bottleneck(g.pool(x, ceil_mode=True), hourglass.down)
        raised = g.enlarge(self._bottleneck(self._hourglass(lower, hourglass.inner, half), hourglass.up))
        if 2 * half != size:
            raised = g.add("Slice", raised, g.whole([0, 0]), g.whole([size, size]), g.whole([2, 3]))
        return g.add("Add", self._bottleneck(x, hourglass.branch), raised)

    def _bottleneck(self, x: str, bottleneck: nn.Module) -> str:
        assert isinstance(bottleneck, Bottleneck)
        return self._g.add("Add", self._g.layers(x, bottleneck.layers), self._g.layers(x, bottleneck.shortcut))

    # --- in every iteration

    def _features(self, maps: tuple[_Map, ...], shape: str) -> tuple[str, list[str]]:
        """Add the encoder's samples at a shape and what it makes of them: (B, N * positions, C).

        Also return the samples of each map as rows (B * N, places * C); none with patches.
        """
        g, encoder = self._g, self._network.encoder
        if isinstance(encoder, PatchEncoder):
            x = self._patches(maps[0], PATCH, shape)
            for k in (1, 2, 3):
                x = g.layers(x, getattr(encoder, f"conv{k}"), getattr(encoder, f"norm{k}"))
                x = g.add("Relu", g.pool(x))
            by_position = g.add("Transpose", g.reshape(x, 0, 0, -1), perm=[0, 2, 1])  # (B * N, positions, C)
            return g.reshape(by_position, -1, self._positions, self._channels), []
        samples = [
            g.reshape(self._samples(each, grid, shape), -1, grid.size**2 * each.channels)
            for each, grid in zip(maps, (FINE, MIDDLE), strict=True)
        ]
        total = self._read(maps, samples, encoder.squeeze, g.parameter(encoder.squeeze, "bias"))
        scale, shift = (g.parameter(encoder.norm, name) for name in ("weight", "bias"))
        normed = g.add("LayerNormalization", total, scale, shift, epsilon=encoder.norm.eps)
        return g.reshape(g.add("Relu", normed), -1, self._n, self._config.landmark_features), samples

    def _read(self, maps: tuple[_Map, ...], samples: list[str], layer: nn.Linear, total: str) -> str:
        """Add a linear layer on the samples of all maps, without its bias, on top of a `total`: (B * N, outputs)."""
        g, places = self._g, [grid.size**2 for grid in (FINE, MIDDLE)]
        sizes = [count * each.channels for count, each in zip(places, maps, strict=True)]
        parts = g.split(g.parameter(layer, "weight"), sizes, axis=1)
        for each, count, rows, part in zip(maps, places, samples, parts, strict=True):
            # The layer reads the samples channel by channel; here they lie place by place.
            by_place = g.add("Transpose", g.reshape(part, 0, each.channels, count), perm=[0, 2, 1])
            total = g.add("Gemm", rows, g.reshape(by_place, 0, -1), total, layer=layer, transB=1)
        return total

    def _window(self, cells: _Map, grid: Grid, shape: str) -> tuple[str, list[str], int]:
        """Add the cells (B, N * side * side, C) that the samples around each landmark lie between.

        Also return the bilinear weights along x and y, (B, N, 1, grid.size * side) each, and side.
        """
        g, step = self._g, grid.spacing / grid.stride
        side = math.ceil((grid.size - 1) * step) + 2
        first = (0.5 - (grid.size - 1) / 2 * grid.spacing) / grid.stride - 0.5  # of the crop's pixel 0, in cells
        place = g.add("Add", g.add("Mul", shape, g.constant(1 / grid.stride)), g.constant(first))  # (B, N, 2)
        low = g.add("Floor", place)
        # A sample's weight of cell i is max(0, 1 - |place - i|). Outside, the cells at the edge are repeated.
        fraction = g.add("Unsqueeze", g.add("Sub", place, low), g.whole([3]))
        samples = np.arange(grid.size)[:, None] * step - np.arange(side)
        distance = g.add("Abs", g.add("Add", fraction, g.constant(samples.ravel())))
        weights = g.add("Relu", g.add("Sub", g.constant(1), distance))
        column = g.add("Unsqueeze", g.add("Cast", low, to=onnx.TensorProto.INT64), g.whole([3]))
        columns = g.add("Clip", g.add("Add", column, g.whole(np.arange(side))), g.whole(0), g.whole(cells.size - 1))
        x, y = g.split(columns, [1, 1], axis=2)  # (B, N, 1, side)
        rows = g.add("Add", g.add("Mul", g.reshape(y, 0, 0, side, 1), g.whole(cells.size)), cells.first)
        index = g.reshape(g.add("Add", rows, x), -1, side**2)
        return g.add("Gather", cells.values, index), g.split(weights, [1, 1], axis=2), side

    def _samples(self, cells: _Map, grid: Grid, shape: str) -> str:
        """Add the samples of a small grid around each landmark: (B * N, grid.size ** 2, C)."""
        g, size = self._g, grid.size
        window, (x, y), side = self._window(cells, grid, shape)
        row = np.arange(size**2 * side**2).reshape(size, size, side, side)
        spread = np.zeros((2, size * side, row.size))
        for (a, b, i, j), k in np.ndenumerate(row):
            spread[0, b * side + j, k] = spread[1, a * side + i, k] = 1
        along_x = g.add("MatMul", g.reshape(x, -1, size * side), g.constant(spread[0]))
        along_y = g.add("MatMul", g.reshape(y, -1, size * side), g.constant(spread[1]))
        matrix = g.reshape(g.add("Mul", along_x, along_y), -1, size**2, side**2)
        return g.add("MatMul", matrix, g.reshape(window, -1, side**2, cells.channels))

    def _patches(self, cells: _Map, grid: Grid, shape: str) -> str:
        """Add the samples of a large grid around each landmark: (B * N, C, grid.size, grid.size)."""
        g, size, channels = self._g, grid.size, cells.channels
        window, (x, y), side = self._window(cells, grid, shape)
        rows = g.add("MatMul", g.reshape(y, -1, size, side), g.reshape(window, -1, side, side * channels))
        planes = g.add("Transpose", g.reshape(rows, 0, size, side, channels), perm=[0, 3, 1, 2])
        return g.add("MatMul", planes, g.add("Transpose", g.reshape(x, -1, 1, size, side), perm=[0, 1, 3, 2]))

    def _non_local(self, x: str, block: NonLocalBlock) -> str:
        """Add the non-local block on x (B, positions, C)."""
        g = self._g
        channels, positions = self._channels, self._positions
        # The weights apply to rows: the layer behind them can act on the values before.
        value = g.add("MatMul", g.parameter(block.out, "weight"), g.parameter(block.pi, "weight"))
        shift = g.add("MatMul", g.parameter(block.out, "weight"), g.parameter(block.pi, "bias"))
        weight = g.join(*(g.parameter(m, "weight") for m in (block.theta, block.phi)), value, axis=0)
        bias = g.join(*(g.parameter(m, "bias") for m in (block.theta, block.phi)), shift, axis=0)
        rows = g.add("Gemm", g.reshape(x, -1, channels), weight, bias, transB=1)
        theta, phi, pi = g.split(g.reshape(rows, -1, positions, 3 * channels), [channels] * 3, axis=2)
        scale = channels**-0.5 if block.softmax else 1 / positions
        attention = g.add("MatMul", g.add("Mul", theta, g.constant(scale)), g.add("Transpose", phi, perm=[0, 2, 1]))
        if block.softmax:
            attention = g.add("Softmax", attention, axis=2)
        moved = g.add("Add", g.add("MatMul", attention, pi), g.parameter(block.out, "bias"))
        return g.add("Add", moved, x)

    def _residual(self, relational: str, state: str) -> str:
        """Add the shape's residual (B, N, 2), in face units, from R (B, N, F) and the state."""
        g, network = self._g, self._network
        residual = g.reshape(self._structure(relational, state, network.hsrm), -1, self._n, 2)
        if network.local_weight is None:
            return residual
        row = g.add("Unsqueeze", relational, g.whole([2]))
        own = g.add("MatMul", row, g.parameter(network, "local_weight"))  # (B, N, 1, 2)
        return g.add("Add", residual, g.reshape(own, -1, self._n, 2))

    def _structure(self, relational: str, state: str, hsrm: HierarchicalStructuralRelation) -> str:
        """Add the hierarchical structural relation module: (B, 2 * N)."""
        g, scheme, features = self._g, self._config.scheme, self._config.landmark_features
        members = {name: list(scheme.region(name)) for name in REGIONS}
        order = [point for points in members.values() for point in points]
        flat = g.reshape(g.add("Gather", relational, g.whole(order), axis=1), 0, self._n * features)
        parts = g.split(flat, [len(points) * features for points in members.values()], axis=1)
        regions = dict(zip(REGIONS, parts, strict=True))
        if hsrm.g:
            regions = {name: g.add("Tanh", g.linear(part, hsrm.g[name])) for name, part in regions.items()}
        groups: dict[tuple[str, ...], list[str]] = {}  # components that read the same regions, in the order of all
        for name in hsrm.present:
            groups.setdefault(COMPONENT_REGIONS[name], []).append(name)
        codes, lasts = [], []
        for readable, names in groups.items():
            code = g.join(*(regions[region] for region in readable), state, axis=1)
            if hsrm.f:
                code = g.add("Relu", g.linear(code, *(hsrm.f[name] for name in names)))
            if hsrm.d:
                lasts.append(self._offsets(hsrm, names))
            # Without f and d, mu reads the code of each component for itself.
            codes += [code] if hsrm.f or hsrm.d else [code] * len(names)
        joined = g.join(*codes, axis=1)
        if not hsrm.d:
            assert hsrm.mu is not None
            return g.linear(joined, hsrm.mu)
        weights, shifts = zip(*lasts, strict=True)
        biases = [*shifts, *([] if hsrm.mu is None else [g.parameter(hsrm.mu, "bias")])]
        bias = functools.reduce(lambda total, shift: g.add("Add", total, shift), biases)
        return g.add("Gemm", joined, g.join(*weights, axis=1), bias, transB=1)

    def _offsets(self, hsrm: HierarchicalStructuralRelation, names: list[str]) -> tuple[str, str]:
        """Add the layers d of some components and, directly behind, mu: as weight (2 * N, inputs) and bias (2 * N,)."""
        g, points = self._g, [p for name in names for p in self._config.scheme.components[name]]
        each = self._config.offsets_per_landmark if hsrm.mu is not None else 2
        columns = [point * each + k for point in points for k in range(each)]
        if hsrm.mu is None:
            mixing = g.constant(np.eye(2 * self._n)[:, columns])
        else:
            mixing = g.add("Gather", g.parameter(hsrm.mu, "weight"), g.whole(columns), axis=1)
        weight, bias = (
            g.join(*(g.parameter(hsrm.d[name], part) for name in names), axis=0) for part in ("weight", "bias")
        )
        return g.add("MatMul", mixing, weight), g.add("MatMul", mixing, bias)

    def _point_heads(self, relational: str, state: str, read: Callable[[nn.Linear, str], str]) -> None:
        """Add visibility and expected error of each point; `read` adds a layer on the samples (see `_read`)."""
        g, heads, head = self._g, self._network.point_heads, self._network.visibility_head
        assert heads is not None
        rows = g.reshape(relational, -1, self._config.landmark_features)
        local = g.reshape(g.linear(rows, heads.local), -1, self._n, heads.weight.shape[1])
        whole = g.add("Unsqueeze", g.linear(state, heads.whole), g.whole([1]))
        code = g.add("Unsqueeze", g.add("Relu", g.add("Add", local, whole)), g.whole([2]))
        values = g.reshape(g.add("MatMul", code, g.parameter(heads, "weight")), -1, self._n, heads.weight.shape[2])
        values = g.add("Add", values, g.parameter(heads, "bias"))
        if head is None:
            visible, scale = g.split(values, [1, 1], axis=2)
            visible = g.reshape(visible, -1, self._n)
        else:
            total = g.reshape(read(head.look, g.linear(rows, head.local)), -1, *head.place.shape)
            whole = g.add("Gemm", state, g.parameter(head.whole, "weight"), layer=head.whole, transB=1)
            whole = g.add("Add", g.add("Unsqueeze", whole, g.whole([1])), g.parameter(head, "place"))
            code = g.add("Add", total, whole)
            weighted = g.add("Mul", g.add("Relu", code), g.parameter(head, "weight"))
            visible = g.add("ReduceSum", weighted, g.whole([2]), keepdims=0)
            visible, scale = g.add("Add", visible, g.parameter(head, "bias")), values
        g.add("Sigmoid", visible, output="visibility")
        # The density of the error vector is exp(-|e| / b) / (2 pi b^2); its mean length is 2 b.
        g.add("Mul", g.add("Exp", g.reshape(scale, -1, self._n)), g.constant(2), output="expected_error")

    def _direction(self, head: DirectionHead, relational: str, state: str, shape: str) -> None:
        """Add the direction of each point's error."""
        g, n, config = self._g, self._n, self._config
        rows = g.reshape(relational, -1, config.landmark_features)
        placed = g.add("Sub", shape, g.constant(config.crop_spec.center))
        placed = g.reshape(g.add("Mul", placed, g.constant(1 / config.face_size)), -1, 2 * n)
        weight = g.join(*(g.parameter(layer, "weight") for layer in (head.whole, head.place)), axis=1)
        whole = g.add("Gemm", g.join(state, placed, axis=1), weight, layer=head.whole, transB=1)
        local = g.reshape(g.linear(rows, head.local), -1, n, head.weight.shape[1])
        code = g.add("Relu", g.add("Add", local, g.add("Unsqueeze", whole, g.whole([1]))))
        values = g.add("MatMul", g.add("Unsqueeze", code, g.whole([2])), g.parameter(head, "weight"))
        tendency = g.add("Add", g.reshape(values, -1, n, 2), g.parameter(head, "bias"))
        squared = g.add("ReduceSumSquare", tendency, g.whole([2]), keepdims=1)
        length = g.add("Sqrt", g.add("Add", squared, g.constant(TINY)))
        share = g.add("Div", g.add("Tanh", length), length)
        g.add("Mul", tendency, share, output="error_direction")
