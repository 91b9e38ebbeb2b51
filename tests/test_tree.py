import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vitrina.classifier.levels import by_level, hierarchical_f1
from vitrina.classifier.tree import CategoryTree

NAMES = ["All->A->B->C", "All->A->B->D", "All->A->E", "All->A->E->F", None, "", "All->G->H"]


def array(*values):
    return np.array(values, np.int64)


def paths(tree, nodes):
    return [tree.paths[node] if node >= 0 else None for node in nodes]


def test_what_all_paths_begin_with_is_no_ancestor():
    tree = CategoryTree.of(NAMES)
    assert "All" not in tree.paths
    assert tree.depth == 3
    assert paths(tree, tree.lines[0]) == ["All->A->B->C", "All->A->B", "All->A"]
    # A category may stand above others.
    assert paths(tree, tree.lines[2]) == ["All->A->E", "All->A", None]
    assert paths(tree, tree.lines[3]) == ["All->A->E->F", "All->A->E", "All->A"]


def test_categories_without_a_path_stand_alone():
    tree = CategoryTree.of(NAMES)
    assert tree.nodes[4] != tree.nodes[5]
    assert paths(tree, tree.lines[4]) == ["", None, None]
    assert not tree.holds(tree.lines[[4]], array(5)).any()
    nameless = CategoryTree.of([None, "", None])
    assert (nameless.depth, nameless.levels.tolist()) == (1, [1, 1, 1])


def test_one_path_alone_is_its_own_top():
    tree = CategoryTree.of(["A->B->C"])
    assert tree.paths == ("A", "A->B", "A->B->C")
    assert CategoryTree.of(["A", "A->B"]).paths == ("A", "A->B")


def test_two_categories_of_one_path_stand_together():
    tree = CategoryTree.of(["A->B", "A->C", " A -> B "])
    assert tree.nodes[0] == tree.nodes[2] != tree.nodes[1]
    assert tree.holds(tree.lines[[0]], array(2)).all()


PATHS = st.lists(
    st.lists(st.sampled_from("abc"), max_size=4).map("->".join), min_size=1, max_size=12
)


@given(names=PATHS, seed=st.integers(0, 9))
def test_a_node_is_as_likely_as_all_that_stands_below_it(names, seed):
    tree = CategoryTree.of(names)
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(len(names)), 20).astype(np.float32)
    chosen = rng.integers(len(names), size=20)
    lines = tree.lines[chosen]
    shares = tree.shares(probabilities, lines)
    true = rng.integers(len(names), size=20)
    holds = tree.holds(lines, true)
    for row in range(20):
        for step, node in enumerate(lines[row]):
            below = [label for label in range(len(names)) if node in tree.lines[label]]
            expected = probabilities[row, below].sum() if node >= 0 else 0
            np.testing.assert_allclose(shares[row, step], expected, atol=1e-6)
            assert holds[row, step] == (node >= 0 and true[row] in below)


# Levels.


def test_each_level_is_measured_by_itself():
    tree = CategoryTree.of(["A->B", "A->C", "D->E", "F"])
    true, predicted = array(0, 0, 2, 3), array(0, 1, 1, 3)
    top, bottom = by_level(tree, true, predicted)
    assert (top.level, top.nodes, top.accuracy) == (1, 3, 0.75)
    # A shallow category stands in for itself.
    assert (bottom.level, bottom.nodes, bottom.accuracy) == (2, 4, 0.5)
    assert by_level(tree, true, array(0, -1, -1, 3))[0].accuracy == 0.5


def test_hierarchical_f1_gives_half_for_the_right_branch():
    tree = CategoryTree.of(["A->B", "A->C", "D->E"])
    own = tree.nodes
    assert hierarchical_f1(tree, array(0, 1, 2), own) == 1
    assert hierarchical_f1(tree, array(0), own[[1]]) == 0.5
    assert hierarchical_f1(tree, array(0), own[[2]]) == 0
    # "A" alone: all of what was said is right, half of the truth was said.
    assert hierarchical_f1(tree, array(0), tree.lines[[0], 1]) == 2 / 3
    assert hierarchical_f1(tree, array(0), array(-1)) == 0
    assert hierarchical_f1(tree, array(0, 1), np.append(own[0], -1)) == 2 / 3
