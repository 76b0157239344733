# steps: backend.service_account; tuning: vertex.service_account; deployer: continuous integration and schedules.
resource "google_service_account" "accounts" {
  for_each     = toset(["steps", "tuning", "deployer"])
  account_id   = "gemtune-${each.value}"
  display_name = "gemtune: ${each.value}"
  depends_on   = [google_project_service.apis]
}

locals {
  members = { for name, account in google_service_account.accounts : name => "serviceAccount:${account.email}" }
  starters = merge(
    { deployer = local.members["deployer"] },
    { for member in var.submitters : member => member },
  )
  project_roles = merge(
    {
      "steps aiplatform.user"   = [local.members["steps"], "roles/aiplatform.user"]
      "steps logging.logWriter" = [local.members["steps"], "roles/logging.logWriter"]
      "tuning"                  = [local.members["tuning"], "roles/aiplatform.tuningServiceAgent"]
    },
    { for name, member in local.starters : "${name} aiplatform.user" => [member, "roles/aiplatform.user"] },
    { for name, member in local.starters : "${name} logging.viewer" => [member, "roles/logging.viewer"] },
    { for name, member in local.starters : "${name} usage" => [member, "roles/serviceusage.serviceUsageViewer"] },
  )
  bucket_roles = merge(
    {
      "steps objects"  = [local.members["steps"], "roles/storage.objectUser"]
      "steps bucket"   = [local.members["steps"], "roles/storage.legacyBucketReader"]
      "tuning objects" = [local.members["tuning"], "roles/storage.objectViewer"]
    },
    { for name, member in local.starters : "${name} objects" => [member, "roles/storage.objectUser"] },
    { for name, member in local.starters : "${name} bucket" => [member, "roles/storage.legacyBucketReader"] },
  )
  # who may act as which account
  actors = merge(
    { "steps as tuning" = [local.members["steps"], "tuning", "roles/iam.serviceAccountUser"] },
    { "steps as steps" = [local.members["steps"], "steps", "roles/iam.serviceAccountUser"] },
    { for name, member in local.starters : "${name} as steps" => [member, "steps", "roles/iam.serviceAccountUser"] },
    { for agent in var.has_tuning_agent ? ["tuning agent"] : [] : agent => [
      "serviceAccount:service-${data.google_project.this.number}@gcp-sa-vertex-tune.iam.gserviceaccount.com",
      "tuning",
      "roles/iam.serviceAccountTokenCreator",
    ] },
  )
}

resource "google_project_iam_member" "roles" {
  for_each = local.project_roles
  project  = var.project
  member   = each.value[0]
  role     = each.value[1]
}

resource "google_storage_bucket_iam_member" "roles" {
  for_each = local.bucket_roles
  bucket   = google_storage_bucket.runs.name
  member   = each.value[0]
  role     = each.value[1]
}

resource "google_service_account_iam_member" "roles" {
  for_each           = local.actors
  service_account_id = google_service_account.accounts[each.value[1]].name
  member             = each.value[0]
  role               = each.value[2]
}

resource "google_artifact_registry_repository_iam_member" "writers" {
  for_each   = google_artifact_registry_repository.repositories
  repository = each.value.name
  location   = each.value.location
  member     = local.members["deployer"]
  role       = "roles/artifactregistry.writer"
}

resource "google_artifact_registry_repository_iam_member" "readers" {
  for_each = {
    for pair in setproduct(keys(google_artifact_registry_repository.repositories), concat(["steps"], keys(local.starters))) :
    "${pair[0]} ${pair[1]}" => pair
  }
  repository = each.value[0]
  location   = var.region
  member     = each.value[1] == "steps" ? local.members["steps"] : local.starters[each.value[1]]
  role       = "roles/artifactregistry.reader"
}
