"""What runs all day: the processes that `tidemark serve` starts, and how they work together.

supervisord ── server    Prefect's: clocks, automations, pages
            ├─ warm      forks a process for each run            (warm, warm_client)
            ├─ worker    takes runs from the server              (worker, deploy, prefect_worker)
            └─ watcher   lands what arrives, starts what is due  (watch, wake)

Each begins in :mod:`flows.entry`, as the release that is active then.
"""
