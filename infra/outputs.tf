output "settings" {
  description = "What goes into a configuration file."
  value = {
    backend = {
      service_account = google_service_account.accounts["steps"].email
      encryption_key  = var.encryption_key
    }
    vertex = {
      project         = var.project
      location        = var.region
      bucket          = google_storage_bucket.runs.name
      service_account = google_service_account.accounts["tuning"].email
    }
  }
}

output "deployer" {
  description = "Service account of continuous integration."
  value       = google_service_account.accounts["deployer"].email
}
