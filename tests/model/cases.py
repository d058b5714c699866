"""Which processes meet in the explorations, and the deliberate mistakes that an exploration must find."""

from __future__ import annotations

from typing import Any

from tests.model.pool_model import Role

EXCLUSIVE = Role("exclusive", 1, "a")
OTHER_RUN = Role("exclusive", 2, "a")
OTHER_SPEC = Role("exclusive", 2, "b")
FRESH = Role("fresh", 1, "a")
SHARED = Role("shared", 1, "a")
SHARED_OTHER_RUN = Role("shared", 2, "a")
CONTROLLER = Role("controller", 1, "-")
TIDIER = Role("tidier")
HELPER = Role("helper")

Case = tuple[tuple[Role, ...], dict[str, Any]]

QUICK: dict[str, Case] = {
    "two exclusive": ((EXCLUSIVE, OTHER_RUN), {"breaks": 1}),
    "two specs and a tidier": ((EXCLUSIVE, OTHER_SPEC, TIDIER), {"stops": 0}),
    "exclusive, fresh and the helper": ((EXCLUSIVE, FRESH, HELPER), {"stops": 0, "tries": 1}),
    "every reset kills": ((EXCLUSIVE, OTHER_RUN), {"poison": True}),
    "two sharers and the helper": ((SHARED, SHARED, HELPER), {"stops": 0, "tries": 1}),
    "sharers of two runs": ((SHARED, SHARED_OTHER_RUN), {"stops": 0, "tries": 1, "breaks": 1}),
}

_KEEPING: dict[str, Case] = {
    "clusters are kept": ((EXCLUSIVE, FRESH, TIDIER), {"stops": 0, "tries": 1, "keeps": True}),
    "shared clusters are kept": ((SHARED, SHARED, TIDIER), {"stops": 0, "tries": 1, "keeps": True}),
}
_SWEEPING: dict[str, Case] = {
    "a sweep of what died": ((EXCLUSIVE, HELPER, TIDIER), {"stops": 0, "tries": 1, "breaks": 1, "warm": True}),
    "a sweep of what died shared": ((SHARED, HELPER, TIDIER), {"stops": 0, "tries": 1, "breaks": 1, "warm": True}),
}
QUICK |= _KEEPING | _SWEEPING

FULL: dict[str, Case] = {
    "two exclusive": ((EXCLUSIVE, OTHER_RUN), {"kills": 2, "stops": 2, "breaks": 1}),
    "two specs and a tidier": ((EXCLUSIVE, OTHER_SPEC, TIDIER), {"kills": 2, "stops": 1}),
    "exclusive, fresh and the helper": ((EXCLUSIVE, FRESH, HELPER), {"kills": 2, "stops": 1, "breaks": 1}),
    "every reset kills": ((EXCLUSIVE, OTHER_RUN), {"poison": True}),
    "two sharers and the helper": ((SHARED, SHARED, HELPER), {"kills": 1, "stops": 1, "tries": 1, "breaks": 1}),
    "two sharers, an exclusive of another run": ((SHARED, SHARED, OTHER_RUN), {"kills": 2, "tries": 1}),
    "sharers of two runs": ((SHARED, SHARED_OTHER_RUN), {"kills": 2, "breaks": 1}),
    "two slots, two specs": ((EXCLUSIVE, OTHER_SPEC), {"slots": 2, "tries": 1}),
    "two slots, two sharers": ((SHARED, SHARED), {"slots": 2, "tries": 1}),
    "two slots, a cluster that breaks": ((SHARED, SHARED), {"slots": 2, "tries": 1, "stops": 0, "breaks": 1}),
    **_KEEPING,
    **_SWEEPING,
}

_PAIR: Case = ((EXCLUSIVE, OTHER_RUN), {})
_TRIO: Case = ((SHARED, SHARED, OTHER_RUN), {})
_TWO_SLOTS: Case = ((SHARED, SHARED), {"slots": 2, "tries": 1})

# The mistake, where it shows, and a word of what the exploration says about it.
MISTAKES: dict[str, tuple[Case, str]] = {
    "the backend comes before the intent": (_PAIR, "a cluster without a record"),
    "the record goes before the backend": (_PAIR, "a cluster without a record"),
    "the record stays READY in use": (_PAIR, "READY, but"),
    "an unfinished creation is DIRTY": (_PAIR, "READY, but"),
    "the record is read before the lock": (_PAIR, "READY, but"),
    "unlocking before the record is written": (_PAIR, "READY, but"),
    "leases expire": (_PAIR, "two holders"),
    "no health check": (((EXCLUSIVE, OTHER_RUN), {"breaks": 1}), "handed out: broken"),
    "a reset is counted afterwards": (((EXCLUSIVE, OTHER_RUN), {"poison": True}), "reset number 3 of 2"),
    "joining without the slot's lock": (_TRIO, "missing from the record"),
    "leaving without the slot's lock": (_TRIO, "missing from the record"),
    "the process lock is taken late": (((SHARED, OTHER_RUN), {}), "taken away"),
    "the controller decides who lives": (((SHARED, OTHER_RUN, CONTROLLER), {}), "taken away"),
    "any run joins": (((SHARED, SHARED_OTHER_RUN), {}), "taken away"),
    "no build lock": (_TWO_SLOTS, "two shared clusters"),
    "no scan under the build lock": (_TWO_SLOTS, "two shared clusters"),
    "the build lock is freed early": (_TWO_SLOTS, "two shared clusters"),
    "the helper resets what is shared": (((SHARED, HELPER), {}), "taken away"),
    "a broken shared cluster is joined": (((SHARED, SHARED), {"breaks": 1}), "joined a broken cluster"),
    "fresh takes a used cluster": (((EXCLUSIVE, FRESH), {}), "used cluster was handed out as fresh"),
    "kept is cleaned as ever": (((EXCLUSIVE, OTHER_RUN), {"keeps": True}), "a kept cluster was touched"),
    "kept is tried once more": (((FRESH, TIDIER), {"keeps": True}), "a kept cluster was touched"),
    "the sweep trusts READY": (_SWEEPING["a sweep of what died"], "no tidy state can be reached"),
    "the sweep ends what is dead and in use": (_SWEEPING["a sweep of what died shared"], "taken away"),
    "a fresh cluster is left DIRTY": (((EXCLUSIVE, FRESH), {}), "a fresh one handed out again"),
}

LOCK_FILE_MISTAKES = (
    "unlink without holding",
    "unlock, then unlink",
    "no check after the flock",
    "rename it aside",
    "go on after the unlink",
)
