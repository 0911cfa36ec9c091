"""Cost of outer products: counts, the paper's ratios, and that each line says whose they are."""

import pytest

from aimc_sim.learning import cost


def test_one_image_of_the_perceptron():
    """784-250-10 with biases: 198,760 multiplications; 17.8 % of the energy, 6.3 % of the area."""
    both = [cost.outer_products(1, 785, 250), cost.outer_products(1, 251, 10)]
    found = cost.of_multiplications(sum(one.multiplications for one in both))
    assert found.multiplications == 198_760
    assert found.fp16_joules == pytest.approx(198_760 * 1.1e-12)
    assert found.essop_joules / found.fp16_joules == pytest.approx(0.178)
    assert found.essop_area_ratio == pytest.approx(0.063)
    first, second = found.lines()
    assert "218.6 nJ" in first
    assert "assumed" in first
    assert "38.92 nJ" in second
    assert "paper's ratios" in second


def test_batches_and_nothing():
    assert cost.outer_products(64, 3, 5).multiplications == 960
    assert cost.outer_products(0, 3, 5).lines()[0].count("0 pJ") == 1
    with pytest.raises(ValueError, match="rows = 0"):
        cost.outer_products(1, 0, 5)
