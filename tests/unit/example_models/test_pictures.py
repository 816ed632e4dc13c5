"""The pictures: what the stories told with them rely on."""

import numpy as np

from example_models import digits, shapes


def test_light_has_a_gap_that_evaluation_stays_below() -> None:
    mixed = shapes.dataset(np.random.default_rng(0), 200, bright_share=0.5)
    mean = mixed.images.mean(axis=(1, 2, 3))
    assert not ((mean > shapes.DIM_LIMIT) & (mean < shapes.BRIGHT_LIMIT)).any()
    np.testing.assert_array_equal(shapes.is_bright(mixed.images), mean >= shapes.BRIGHT_LIMIT)
    dim = shapes.dataset(np.random.default_rng(0), 100, bright_share=0)
    assert not shapes.is_bright(dim.images).any()


def test_traffic_is_the_stated_mixture_and_a_longer_run_begins_like_a_shorter_one() -> None:
    traffic = shapes.traffic_images(7, 500)
    # Three standard deviations of a share of 0.2 over 500 draws.
    assert abs(shapes.is_bright(traffic).mean() - shapes.BRIGHT_SHARE) < 0.054
    np.testing.assert_array_equal(shapes.traffic_images(7, 20), traffic[:20])
    assert not np.array_equal(shapes.traffic_images(8, 20), traffic[:20])


def test_dataset_is_padded_and_in_range() -> None:
    data = shapes.dataset(np.random.default_rng(1), 100, bright_share=0.2)
    assert data.images.dtype == np.float32
    assert data.images.shape == (100, 3, 64, 64)
    assert (data.images.min(), data.images.max()) >= (0, 0)
    assert data.images.max() <= 1
    present = data.gt_labels != shapes.PADDING
    assert present[:, 0].all()
    assert (data.gt_boxes[~present] == shapes.PADDING).all()
    boxes = data.gt_boxes[present]
    assert ((boxes >= 0) & (boxes <= shapes.SIZE)).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_box_holds_exactly_the_painted_pixels() -> None:
    for seed in range(30):
        drawn = shapes.scene(np.random.default_rng(seed), bright=False)
        if len(drawn.boxes) == 1:
            x1, y1, x2, y2 = (int(v) for v in drawn.boxes[0])
            inside = drawn.image[:, (y1 + y2) // 2 : y2 - 2, (x1 + x2) // 2]
            outside = drawn.image[:, y2 + 1 : y2 + 2, (x1 + x2) // 2]
            assert np.abs(inside.mean(1) - outside.mean(1)).max() > 0.1


def test_shuffled_labels_keep_pictures_boxes_and_padding() -> None:
    data = shapes.dataset(np.random.default_rng(2), 50, bright_share=0)
    shuffled = shapes.with_shuffled_labels(data, np.random.default_rng(3))
    np.testing.assert_array_equal(shuffled.gt_labels == -1, data.gt_labels == -1)
    np.testing.assert_array_equal(shuffled.gt_boxes, data.gt_boxes)
    assert (shuffled.gt_labels != data.gt_labels).any()


def test_digits_are_reproducible_and_in_range() -> None:
    one = digits.dataset(np.random.default_rng(4), 50)
    two = digits.dataset(np.random.default_rng(4), 50)
    np.testing.assert_array_equal(one.images, two.images)
    assert one.images.shape == (50, 1, 32, 32)
    assert one.images.dtype == np.float32
    assert 0 <= one.images.min() <= one.images.max() <= 1
    assert set(one.labels.tolist()) <= set(range(10))
