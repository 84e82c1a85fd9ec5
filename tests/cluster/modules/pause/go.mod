module workerpool.dev/tests/cluster/modules/pause

go 1.24.0
