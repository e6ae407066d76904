"""The one owner of the run folder's format: what lies in it, who writes it, who reads it.

Each file of the folder has its writer and its reader here: `layout` (names, configuration,
command), `status`, `metrics`, `snapshots` with `snapshot_reader`, `checkpoints`, `evaluations`,
`control`; `trainer` says who is at work, `start` begins a trainer. Trainer, suites and workbench
ask these and open nothing themselves. It knows nothing of the training loop.
"""
