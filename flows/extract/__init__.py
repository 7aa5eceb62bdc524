"""Extracts: rows of other people's systems come into the inbox as files, and nothing else happens to them.

What is extracted from where is data: one file a source in ``extracts/`` (:mod:`flows.extract.declared`). A run writes
files and renames them into the inbox; how far it is stands in their names (:mod:`flows.extract.position`), so it is
never ahead of them, and a run that was killed goes on where its last file ends. Each runs in a process of its own
(:mod:`flows.extract.run`): a driver that breaks takes nothing else with it. What kinds of sources there are, and the
package of each, is in :mod:`flows.extract.kinds`.
"""
