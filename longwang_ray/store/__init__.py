"""What comes out: sharded Zarr v3, each shard one object that is written once.

objects   put once, replace, list, on a disk, in a bucket (disk; cloud: gcs, s3), in memory
shards    rounding and encoding (writer: the thread; receipts: what was written)
metadata  what stands in a group before any rain does
ensemble  make, resume, open (groups: what a group says of itself; backlog: what is missing)
ledger    how well each month was met; seal joins them; verify does not believe them
status    how far it is (journal: what runs say of themselves)
"""

from longwang_ray.store.backlog import Backlog, open_backlog
from longwang_ray.store.ensemble import (
    create_store,
    finished,
    open_ensemble,
    open_tree,
)
from longwang_ray.store.errors import StoreError, StoreRefused, StoreUnreachable
from longwang_ray.store.journal import Journal, RunRecord, given_up, read_runs, running
from longwang_ray.store.ledger import Ledger
from longwang_ray.store.metadata import GroupSpec, recipe_hash
from longwang_ray.store.objects import require_room
from longwang_ray.store.receipts import Receipt
from longwang_ray.store.repair import Repaired
from longwang_ray.store.repair import repair as repair_store
from longwang_ray.store.seal import Sealed, seal
from longwang_ray.store.status import GroupStatus, status
from longwang_ray.store.verify import Problem, Verification, verify
from longwang_ray.store.writer import ShardWriter

__all__ = [
    "Backlog",
    "GroupSpec",
    "GroupStatus",
    "Journal",
    "Ledger",
    "Problem",
    "Receipt",
    "Repaired",
    "RunRecord",
    "Sealed",
    "ShardWriter",
    "StoreError",
    "StoreRefused",
    "StoreUnreachable",
    "Verification",
    "create_store",
    "finished",
    "given_up",
    "open_backlog",
    "open_ensemble",
    "open_tree",
    "read_runs",
    "recipe_hash",
    "repair_store",
    "require_room",
    "running",
    "seal",
    "status",
    "verify",
]
