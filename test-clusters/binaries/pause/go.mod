module isthmus.dev/test-clusters/pause

go 1.24
