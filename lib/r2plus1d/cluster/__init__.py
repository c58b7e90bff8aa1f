"""A run in shards on a cluster of Ray, `pip install r2plus1d[ray]`.

    with connected('auto', needs):
        given_up = run_shards(job, needs)   # then merge the shards, as everywhere

The actors take numbers of shards and give counts. What they make is in the files of the shards.
"""
