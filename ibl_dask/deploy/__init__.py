"""Workers of a site: batch systems, site profiles, clusters of workers and jobs, and a doctor."""
