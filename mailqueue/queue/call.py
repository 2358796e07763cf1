"""One call that sends messages: what it has accepted, and what it leaves open where it fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from .accepted import Accepted
from .earlier import Earlier, End, FailedCall, Likeness, memory
from .submission import Submission


class _Object(NamedTuple):
    """A message object of which earlier calls have left something."""

    message: Any
    left: list[Earlier]  # what will be remembered of it where this call fails too
    free: list[Earlier]  # what none of this call's messages stands for yet


class Call:
    """What becomes of the messages of one call.

    It ``remembers`` those that it has accepted where its messages are objects that the caller has,
    and not what a generator makes.
    """

    def __init__(self, *, remembers: bool) -> None:
        self.count = 0
        self.total = 0  # as far as is known
        self.in_doubt = False  # whether the messages in hand may have been accepted
        self._remembers = remembers
        self._objects: dict[int, _Object] = {}
        self._calls: dict[FailedCall, None] = {}  # those that this one goes on with
        self._portion: Sequence[Submission] = ()
        self._ids: dict[int, str] = {}  # of those of the portion that were accepted
        self._before: list[str] = []  # ids of the portions before, one text for each
        self._done: list[tuple[Any, str, Likeness]] = []
        self._in_hand: Sequence[Submission] = ()
        self._open: list[tuple[Submission, End]] = []

    @property
    def accepted(self) -> Accepted:
        """How many messages were accepted, and which."""
        return Accepted(self.count, self._before)

    def knows(self, message: Any) -> bool:
        """Whether an earlier call has left something of this object."""
        if id(message) in self._objects:
            return True
        found = memory.of(message)
        if found:
            self._objects[id(message)] = _Object(message, [*found], [*found])
            self._calls |= dict.fromkeys(call for one in found for call in one.open_in)
        return bool(found)

    def find_earlier(self, message: Any, likeness: Likeness) -> Earlier | None:
        """The message that an earlier call has left of an object that it ``knows``.

        An object that stands in a list twice is two messages: each is found once.
        """
        free = self._objects[id(message)].free
        for earlier in free:
            if earlier.likeness.is_that_of(likeness):
                free.remove(earlier)
                return earlier
        return None

    def begin_portion(self, portion: Sequence[Submission]) -> None:
        """Take the messages that come next; those that an earlier call has accepted are done."""
        self._portion = portion
        self.total = max(self.total, self.count + len(portion))
        for submission in portion:
            if submission.earlier and submission.is_accepted:
                self.accept(submission, submission.earlier.id)

    def end_portion(self) -> None:
        """Note what was accepted of the messages, in their order."""
        self._put_down()
        done = [(one, self._ids[id(one)]) for one in self._portion if id(one) in self._ids]
        self._before.append(" ".join([id_ for _, id_ in done]))
        if self._remembers:
            new = [(one, id_) for one, id_ in done if not one.is_accepted]
            self._done += [(one.message, id_, one.likeness) for one, id_ in new]
        self._portion = ()
        self._ids.clear()

    def take_in_hand(self, group: Sequence[Submission]) -> None:
        """Begin to have messages accepted: from here on they are in doubt until it is known."""
        self._put_down()
        self._in_hand, self.in_doubt = group, True

    def accept(self, submission: Submission, id_: str = "") -> None:
        """Note that a message is accepted; without an id where the journal has no record of it."""
        self.count += 1
        self._ids[id(submission)] = id_
        self._settle(submission)
        _name(submission.message, id_)

    def end(self) -> None:
        """Forget what earlier calls left of the objects, unless some are left again.

        They are new messages from now on.
        """
        if self._open:
            self.fail()
            return
        for message, _, _ in self._objects.values():
            memory.keep(message, ())

    def fail(self) -> None:
        """Remember what the objects are to be known by when they are sent again."""
        self.end_portion()
        found: dict[int, tuple[Any, list[Earlier]]] = {}
        this = FailedCall()
        depends_on = this if self._open else None
        for message, id_, likeness in self._done:
            one = Earlier(id_, likeness, End.ACCEPTED, depends_on=depends_on)
            self._all_of(message, found).append(one)
        calls = (*self._calls, this) if self._done else tuple(self._calls)
        for submission, end in self._open:
            self._settle(submission)
            one = Earlier(submission.entry.id, submission.likeness, end, open_in=calls)
            self._all_of(submission.message, found).append(one)
        for message, all_ in found.values():
            memory.keep(message, all_)

    def _put_down(self) -> None:
        """Leave open what is in hand and wasn't accepted."""
        for submission in self._in_hand:
            if id(submission) not in self._ids:
                doubt = self.in_doubt or submission.in_doubt
                self._open.append((submission, End.IN_DOUBT if doubt else End.REFUSED))
        self._in_hand = ()

    def _settle(self, submission: Submission) -> None:
        if submission.earlier and not submission.is_accepted:
            left = self._objects[id(submission.message)].left
            if submission.earlier in left:
                left.remove(submission.earlier)

    def _all_of(self, message: Any, found: dict[int, tuple[Any, list[Earlier]]]) -> list[Earlier]:
        """What will be remembered of an object; what was refused before it was changed is over."""
        if id(message) not in found:
            known = self._objects.get(id(message))
            left = known.left if known else ()
            found[id(message)] = message, [one for one in left if one.end is not End.REFUSED]
        return found[id(message)][1]


def _name(message: Any, id_: str) -> None:
    """Tell the message its id; one that takes no new attributes is accepted all the same."""
    try:
        if id_:
            message.mailqueue_id = id_
        else:
            del message.mailqueue_id
    except (AttributeError, LookupError, TypeError, ValueError):
        return  # no other, which may come from outside
