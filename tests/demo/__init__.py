"""The main job, end to end, to be watched: `make demo`.

In: a machine that can have a cluster. Out: three WorkerPools that scale real workers from zero, through real video,
image and mail jobs, back to zero; a timeline, a summary, a picture, and an exit status.
"""
