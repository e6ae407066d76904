"""Words on pictures: they keep apart, and inside."""

from __future__ import annotations

import numpy as np

from uda4inst.draw_text import PlacedText, label_text


def test_label_text__crowded_words_make_way_and_then_give_up() -> None:
    image = np.full((200, 300, 3), 90, dtype=np.uint8)
    one = label_text(image, [PlacedText("person", (100, 150), (255, 0, 0))])
    two = label_text(image, [PlacedText("person", (100, 150), (255, 0, 0))] * 2)
    many = label_text(image, [PlacedText("person", (100, 150), (255, 0, 0))] * 50)
    drawn = [int((p != 90).any(axis=-1).sum()) for p in (one, two, many)]
    assert drawn[0] < drawn[1] < drawn[2] < 10 * drawn[0]


def test_label_text__stays_inside_the_picture() -> None:
    image = np.full((40, 60, 3), 90, dtype=np.uint8)
    picture = label_text(image, [PlacedText("motorcycle 0.99", (0, 0), (255, 0, 0))])
    assert picture.shape == image.shape
