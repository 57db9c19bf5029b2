"""UWS whole: phases, store, queue, service, tasks, worker."""
