from __future__ import annotations

import pytest
import torch
from torch import nn

from uda4inst.models.ema import EmaTeacher


class Student(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table: torch.Tensor
        self.linear = nn.Linear(3, 2)
        self.register_buffer("table", torch.arange(4))
        self.register_buffer("constant", torch.ones(2), persistent=False)


def change(student: Student) -> None:
    with torch.no_grad():
        student.linear.weight.add_(torch.randn(2, 3))
        student.linear.bias.add_(torch.randn(2))
        student.table.add_(1)


def test_update__follows_the_warmed_up_average() -> None:
    student = Student()
    teacher = EmaTeacher(student, ema_decay=0.6)
    expected = student.linear.weight.detach().clone()
    for step, decay in enumerate([0.0, 0.5, 0.6, 0.6]):
        change(student)
        expected = decay * expected + (1 - decay) * student.linear.weight.detach()

        teacher.update(student, step)

        torch.testing.assert_close(teacher.model.linear.weight.detach(), expected)


def test_update__copies_buffers() -> None:
    student = Student()
    teacher = EmaTeacher(student)
    change(student)

    teacher.update(student, 500)

    assert torch.equal(teacher.model.table, student.table)


def test_update__at_step_0_makes_the_teacher_the_student() -> None:
    student = Student()
    teacher = EmaTeacher(student)
    change(student)

    teacher.update(student, 0)

    assert torch.equal(teacher.model.linear.weight, student.linear.weight)


def test_teacher__is_an_independent_frozen_copy_in_evaluation_mode() -> None:
    student = Student().train()
    teacher = EmaTeacher(student)
    before = teacher.model.linear.weight.clone()

    change(student)

    assert torch.equal(teacher.model.linear.weight, before)
    assert not teacher.model.training
    assert student.training
    assert not any(p.requires_grad for p in teacher.model.parameters())


def test_teacher__survives_saving_and_loading() -> None:
    student = Student()
    teacher = EmaTeacher(student)
    change(student)
    teacher.update(student, 3)
    other = EmaTeacher(Student())

    other.load_state_dict(teacher.state_dict())

    assert torch.equal(other.model.linear.weight, teacher.model.linear.weight)
    assert torch.equal(other.model.table, teacher.model.table)


def test_teacher__of_the_network_predicts_as_the_student_does(tiny_model) -> None:
    images = torch.rand(1, 3, 64, 64)
    teacher = EmaTeacher(tiny_model)
    tiny_model.eval()

    with torch.no_grad():
        own, other = tiny_model(images), teacher.model(images)

    tiny_model.train()
    for one, another in zip(own.mask_logits, other.mask_logits, strict=True):
        assert torch.equal(one, another)


def test_teacher__refuses_a_decay_above_one() -> None:
    with pytest.raises(ValueError, match=r"ema_decay must lie in \[0, 1\], got 1.5"):
        EmaTeacher(Student(), ema_decay=1.5)
