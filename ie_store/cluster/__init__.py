"""Work handed out to the processes of a Dask cluster: both stages use it, and it knows neither."""
