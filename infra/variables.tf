variable "project" {
  description = "Project id."
  type        = string
}

variable "region" {
  description = "Region of pipelines, tuning, bucket and repositories."
  type        = string
  default     = "us-central1"
}

variable "bucket" {
  description = "Name of the bucket; empty: PROJECT-gemtune, the default of vertex.bucket."
  type        = string
  default     = ""
}

variable "encryption_key" {
  description = "Full name of a Cloud KMS key for bucket, repositories and runs; empty: keys of Google."
  type        = string
  default     = ""
}

variable "submitters" {
  description = "Who may start runs: members such as group:ml@example.com."
  type        = set(string)
  default     = []
}

variable "has_tuning_agent" {
  description = "Whether the service agent of tuning exists: it is created by the first tuning job of the project."
  type        = bool
  default     = false
}

locals {
  bucket = var.bucket == "" ? "${var.project}-gemtune" : var.bucket
}
