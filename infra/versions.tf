# What gemtune needs in a Google Cloud project. Not applied by its authors to a real project: review the plan before you
# apply it (terraform -chdir=infra plan -var project=my-project). docs/how-to/security.md explains each role.
terraform {
  required_version = ">= 1.5"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 6.0"
    }
    google-beta = { # google_project_service_identity is in no other
      source  = "hashicorp/google-beta"
      version = ">= 6.0"
    }
  }
}

provider "google" {
  project = var.project
  region  = var.region
}

provider "google-beta" {
  project = var.project
  region  = var.region
}
