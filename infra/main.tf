data "google_project" "this" {}

resource "google_project_service" "apis" {
  for_each = toset([
    "aiplatform.googleapis.com",
    "artifactregistry.googleapis.com",
    "cloudkms.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "iam.googleapis.com",
    "logging.googleapis.com",
    "serviceusage.googleapis.com",
    "storage.googleapis.com",
  ])
  service            = each.value
  disable_on_destroy = false
}

resource "google_storage_bucket" "runs" {
  name                        = local.bucket
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  versioning {
    enabled = true # records such as champions/NAME.json can be restored
  }

  lifecycle_rule {
    condition {
      days_since_noncurrent_time = 30
    }
    action {
      type = "Delete"
    }
  }

  dynamic "encryption" {
    for_each = var.encryption_key == "" ? [] : [var.encryption_key]
    content {
      default_kms_key_name = encryption.value
    }
  }

  depends_on = [google_project_service.apis, google_kms_crypto_key_iam_member.services]
}

resource "google_artifact_registry_repository" "repositories" {
  for_each      = { gemtune = "DOCKER", gemtune-pipelines = "KFP" }
  repository_id = each.key
  format        = each.value
  location      = var.region
  kms_key_name  = var.encryption_key == "" ? null : var.encryption_key
  depends_on    = [google_project_service.apis, google_kms_crypto_key_iam_member.services]
}

# Service agents exist once their service has been used, or when they are created here.
resource "google_project_service_identity" "agents" {
  provider   = google-beta
  for_each   = toset(["aiplatform.googleapis.com", "artifactregistry.googleapis.com"])
  service    = each.value
  depends_on = [google_project_service.apis]
}

data "google_storage_project_service_account" "agent" { # creates it, too
  depends_on = [google_project_service.apis]
}

# Service agents that read and write under the key.
resource "google_kms_crypto_key_iam_member" "services" {
  for_each = var.encryption_key == "" ? {} : merge(
    { for service, agent in google_project_service_identity.agents : service => agent.member },
    { storage = data.google_storage_project_service_account.agent.member },
  )
  crypto_key_id = var.encryption_key
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = each.value
}
