#!/usr/bin/env bash
# torch 2.13.0: a tensor that is conjugated or negated lazily arrives through torch.multiprocessing's queue without that.
#
# `t.conj()` makes no new numbers: it is a view with a mark, and so is the imaginary part of one, which is a negated view.
# All operations of torch mind the mark, and pickle and torch.save keep it. What torch.multiprocessing sends
# is the storage with shape and strides; the mark is not among what it sends. So the receiver computes with the complex
# conjugate's conjugate, and a sign is wrong, without an error. `resolve_conj()` and `resolve_neg()` before `put`
# write the numbers out, and are right.
#
# Seen: of [1+2j, 3-4j] conj() arrives as [1+2j, 3-4j], conj().imag, [-2, 4], as [2, -4]; by pickle both arrive right.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.13.0 numpy==2.4.6

cat >views.py <<'EOF'
import pickle

import torch
import torch.multiprocessing as mp


def send(queue, done):
    numbers = torch.tensor([1 + 2j, 3 - 4j])
    for tensor in (numbers.conj(), numbers.conj().imag, numbers.conj().resolve_conj()):
        queue.put(tensor)
    done.wait()  # a queue sends handles of memory that is the sender's


if __name__ == "__main__":
    numbers = torch.tensor([1 + 2j, 3 - 4j])
    expected = [t.tolist() for t in (numbers.conj(), numbers.conj().imag, numbers.conj().resolve_conj())]
    pickled = [pickle.loads(pickle.dumps(t)).tolist() for t in (numbers.conj(), numbers.conj().imag)]
    context = mp.get_context("spawn")
    queue, done = context.Queue(), context.Event()
    sender = context.Process(target=send, args=(queue, done))
    sender.start()
    received = [queue.get(timeout=60).tolist() for _ in range(3)]
    done.set()
    sender.join()
    for name, before, after in zip(("conj()", "conj().imag", "resolve_conj()"), expected, received, strict=True):
        print(f"{name}: {before} arrives as {after}")
    print("by pickle:", pickled)
    as_seen = received == [numbers.tolist(), [2.0, -4.0], expected[2]] and pickled == expected[:2]
    if not as_seen:
        raise SystemExit("conjugated and negated views are sent differently now")
EOF
venv/bin/python views.py
