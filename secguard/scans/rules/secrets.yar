/*
  Secrets: keys, tokens and passwords in files. Written for SecGuard.

  meta.id       the rule's name in findings; once released it never means anything else
  meta.title    for people
  meta.severity a word of the one scale
  $secret…      the secret itself: where it lies, and what its keyed fingerprint is made of; it is never kept
  $not_…        what looks like one and is none: a secret that one of these touches does not count
  `name`        the file's name without folders, in lower case (set for each file)

  A pattern needs context that only a secret has: a vendor's prefix and length, or a file that is there to hold it.
  What libraries carry as constants (test keys in crypto libraries, examples) is told apart by where it stands.
*/

private rule program {
  condition:
    uint32be(0) == 0x7f454c46 or uint16be(0) == 0x4d5a or uint32be(0) == 0xfeedface or uint32be(0) == 0xcafebabe
    or uint32be(0) == 0x0061736d
}

rule private_key {
  meta:
    id = "private-key"
    title = "Private key"
    severity = "high"
  strings:
    $secret = /-----BEGIN (RSA |EC |DSA |OPENSSH |ENCRYPTED )?PRIVATE KEY-----(\\n|\r?\n)([A-Za-z-]{1,30}: [^\r\n]{1,100}\r?\n){0,3}(\r?\n)?[A-Za-z0-9+\/=]{40,80}/
  condition:
    not program and filesize < 8MB and $secret
}

rule pgp_private_key {
  meta:
    id = "pgp-private-key"
    title = "PGP private key"
    severity = "high"
  strings:
    $secret = /-----BEGIN PGP PRIVATE KEY BLOCK-----\r?\n([A-Za-z]{1,20}: [^\r\n]{1,100}\r?\n){0,4}\r?\n[A-Za-z0-9+\/=]{40,80}/
  condition:
    not program and filesize < 8MB and $secret
}

rule putty_private_key {
  meta:
    id = "putty-private-key"
    title = "PuTTY private key"
    severity = "high"
  strings:
    $secret = /PuTTY-User-Key-File-[23]: [a-z0-9-]{5,40}\r?\nEncryption: none/
  condition:
    not program and filesize < 1MB and $secret
}

rule aws_access_key {
  meta:
    id = "aws-access-key"
    title = "AWS access key with its secret"
    severity = "critical"
  strings:
    $id = /\b(AKIA|ASIA)[A-Z2-7]{16}\b/
    $secret = /(aws_secret_access_key|AWS_SECRET_ACCESS_KEY|SecretAccessKey|secretAccessKey|secret_key)["']?\s{0,5}[=:]\s{0,5}["']?[A-Za-z0-9+\/]{40}\b/
    $not_example = "AKIAIOSFODNN7EXAMPLE"
  condition:
    filesize < 8MB and $id and $secret and not $not_example
}

rule aws_access_key_id {
  meta:
    id = "aws-access-key-id"
    title = "AWS access key id"
    severity = "medium"
  strings:
    $secret = /\bAKIA[A-Z2-7]{16}\b/
    $assigned = /(aws_access_key_id|AWS_ACCESS_KEY_ID|AccessKeyId|accessKeyId|access_key)["']?\s{0,5}[=:]\s{0,5}["']?AKIA[A-Z2-7]{16}\b/
    $not_example = "AKIAIOSFODNN7EXAMPLE"
  condition:
    filesize < 8MB and $assigned and $secret and not $not_example and not aws_access_key
}

rule google_service_account {
  meta:
    id = "google-service-account"
    title = "Google service account key"
    severity = "critical"
  strings:
    $type = /"type"\s{0,5}:\s{0,5}"service_account"/
    $secret = /"private_key"\s{0,5}:\s{0,5}"-----BEGIN PRIVATE KEY-----\\n[A-Za-z0-9+\/=\\]{40,80}/
  condition:
    filesize < 1MB and all of them
}

rule google_api_key {
  meta:
    id = "google-api-key"
    title = "Google API key"
    severity = "medium"
  strings:
    $secret = /\bAIza[A-Za-z0-9_-]{35}\b/
  condition:
    not program and filesize < 8MB and $secret
}

rule google_oauth_secret {
  meta:
    id = "google-oauth-secret"
    title = "Google OAuth client secret"
    severity = "high"
  strings:
    $secret = /\bGOCSPX-[A-Za-z0-9_-]{28}\b/
  condition:
    not program and filesize < 8MB and $secret
}

rule azure_storage_key {
  meta:
    id = "azure-storage-key"
    title = "Azure storage account key"
    severity = "critical"
  strings:
    $secret = /AccountName=[a-z0-9]{3,24};AccountKey=[A-Za-z0-9+\/]{86}==/
    $not_emulator = "AccountName=devstoreaccount1"
  condition:
    filesize < 8MB and $secret and not $not_emulator
}

rule azure_client_secret {
  meta:
    id = "azure-client-secret"
    title = "Azure client secret"
    severity = "high"
  strings:
    $secret = /(AZURE_CLIENT_SECRET|ARM_CLIENT_SECRET|client_secret|clientSecret)["']?\s{0,5}[=:]\s{0,5}["']?[A-Za-z0-9_~.-]{3}[78]Q~[A-Za-z0-9_~.-]{31,34}/
  condition:
    not program and filesize < 8MB and $secret
}

rule github_token {
  meta:
    id = "github-token"
    title = "GitHub token"
    severity = "critical"
  strings:
    $secret = /\b(ghp|gho|ghu|ghs|ghr)_[A-Za-z0-9]{36}\b/
    $secret_fine = /\bgithub_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}\b/
  condition:
    not program and filesize < 8MB and any of them
}

rule gitlab_token {
  meta:
    id = "gitlab-token"
    title = "GitLab token"
    severity = "critical"
  strings:
    $secret = /\bgl(pat|ptt|dt|cbt|rt|imt|agent|soat|ft)-[A-Za-z0-9_-]{20,64}\b/
  condition:
    not program and filesize < 8MB and $secret
}

rule slack_token {
  meta:
    id = "slack-token"
    title = "Slack token"
    severity = "high"
  strings:
    $secret = /\bxox[abeoprs]-[0-9]{8,13}-[A-Za-z0-9-]{10,72}\b/
    $secret_hook = /https:\/\/hooks\.slack\.com\/services\/T[A-Z0-9]{8,10}\/B[A-Z0-9]{8,10}\/[A-Za-z0-9]{24}\b/
  condition:
    not program and filesize < 8MB and any of them
}

rule stripe_key {
  meta:
    id = "stripe-secret-key"
    title = "Stripe secret key"
    severity = "critical"
  strings:
    $secret = /\b(sk|rk)_live_[A-Za-z0-9]{24,99}\b/
  condition:
    not program and filesize < 8MB and $secret
}

rule npm_token {
  meta:
    id = "npm-token"
    title = "npm access token"
    severity = "critical"
  strings:
    $secret = /\bnpm_[A-Za-z0-9]{36}\b/
    $secret_rc = /\/:_authToken\s{0,5}=\s{0,5}["']?[A-Za-z0-9_-]{20,100}/
  condition:
    not program and filesize < 8MB and any of them
}

rule pypi_token {
  meta:
    id = "pypi-token"
    title = "PyPI API token"
    severity = "critical"
  strings:
    $secret = /\bpypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,1000}/
    $secret_test = /\bpypi-AgENdGVzdC5weXBpLm9yZw[A-Za-z0-9_-]{50,1000}/
  condition:
    not program and filesize < 8MB and any of them
}

rule registry_credentials {
  meta:
    id = "registry-credentials"
    title = "Credentials of a container registry"
    severity = "high"
  strings:
    $auths = /"auths"\s{0,20}:\s{0,20}\{/
    $secret = /"auth"\s{0,20}:\s{0,20}"[A-Za-z0-9+\/]{8,2000}={0,2}"/
  condition:
    filesize < 1MB and all of them and (name == "config.json" or name == ".dockerconfigjson" or name == "auth.json" or name == ".dockercfg")
}

rule kubernetes_credentials {
  meta:
    id = "kubernetes-credentials"
    title = "Credentials of a Kubernetes cluster"
    severity = "critical"
  strings:
    $kind = /kind["']?:\s{0,5}["']?Config\b/
    $secret = /(client-key-data|token)["']?:\s{0,5}["']?[A-Za-z0-9+\/=._-]{40,20000}/
  condition:
    filesize < 1MB and all of them
}

rule vault_token {
  meta:
    id = "vault-token"
    title = "Vault token"
    severity = "high"
  strings:
    $secret = /\bhv[sb]\.[A-Za-z0-9_-]{24,300}\b/
  condition:
    not program and filesize < 8MB and $secret
}

rule sendgrid_key {
  meta:
    id = "sendgrid-key"
    title = "SendGrid API key"
    severity = "high"
  strings:
    $secret = /\bSG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}\b/
  condition:
    not program and filesize < 8MB and $secret
}

rule twilio_key {
  meta:
    id = "twilio-key"
    title = "Twilio credentials"
    severity = "high"
  strings:
    $account = /\bAC[a-f0-9]{32}\b/
    $secret = /(TWILIO_AUTH_TOKEN|twilio_auth_token|authToken|auth_token)["']?\s{0,5}[=:]\s{0,5}["']?[a-f0-9]{32}\b/
  condition:
    not program and filesize < 8MB and all of them
}

rule openai_key {
  meta:
    id = "openai-key"
    title = "OpenAI API key"
    severity = "high"
  strings:
    $secret = /\bsk-(proj-|svcacct-|admin-)?[A-Za-z0-9_-]{20,80}T3BlbkFJ[A-Za-z0-9_-]{20,80}\b/
  condition:
    not program and filesize < 8MB and $secret
}

rule anthropic_key {
  meta:
    id = "anthropic-key"
    title = "Anthropic API key"
    severity = "high"
  strings:
    $secret = /\bsk-ant-(api|admin)[0-9]{2}-[A-Za-z0-9_-]{80,120}\b/
  condition:
    not program and filesize < 8MB and $secret
}

rule hugging_face_token {
  meta:
    id = "hugging-face-token"
    title = "Hugging Face token"
    severity = "high"
  strings:
    $secret = /\bhf_[A-Za-z]{34}\b/
  condition:
    not program and filesize < 8MB and $secret
}

rule digitalocean_token {
  meta:
    id = "digitalocean-token"
    title = "DigitalOcean token"
    severity = "critical"
  strings:
    $secret = /\bdo[oprt]_v1_[a-f0-9]{64}\b/
  condition:
    not program and filesize < 8MB and $secret
}

rule cloudflare_token {
  meta:
    id = "cloudflare-token"
    title = "Cloudflare API token"
    severity = "high"
  strings:
    $secret = /(CLOUDFLARE_API_TOKEN|CF_API_TOKEN|CLOUDFLARE_API_KEY|CF_API_KEY)["']?\s{0,5}[=:]\s{0,5}["']?[A-Za-z0-9_-]{37,40}\b/
  condition:
    not program and filesize < 8MB and $secret
}

rule database_url {
  meta:
    id = "database-url"
    title = "Database address with its password"
    severity = "high"
  strings:
    $secret = /\b(postgres|postgresql|mysql|mariadb|mongodb|mongodb\+srv|redis|rediss|amqp|amqps|mssql|sqlserver):\/\/[A-Za-z0-9_.%-]{1,60}:[^\s:@\/"'<>{}$\[\]*\\]{6,100}@[A-Za-z0-9][A-Za-z0-9.-]{1,100}/
    $not_local = /:\/\/[A-Za-z0-9_.%-]{1,60}:[^\s:@\/"']{6,100}@(localhost|127\.0\.0\.1|example\.(com|org|net)|host|hostname|server|db|database|ip|your|my)\b/
    $not_filler = /:\/\/[A-Za-z0-9_.%-]{1,60}:(password|passwd|secret|changeme|postgres|xxxxxx+|\*{6,}|mypassword|pass123|123456)@/ nocase
  condition:
    not program and filesize < 1MB and #secret > #not_local + #not_filler
}

rule netrc {
  meta:
    id = "netrc-password"
    title = "Password in .netrc"
    severity = "high"
  strings:
    $secret = /\bmachine\s{1,20}\S{1,200}\s{1,20}login\s{1,20}\S{1,200}\s{1,20}password\s{1,20}\S{4,200}/
  condition:
    filesize < 100KB and $secret and (name == ".netrc" or name == "_netrc")
}

rule pgpass {
  meta:
    id = "pgpass-password"
    title = "Password in .pgpass"
    severity = "high"
  strings:
    $secret = /[^\s:#]{1,200}:[0-9*]{1,5}:[^\s:]{1,100}:[^\s:]{1,100}:[^\s:]{3,200}/
  condition:
    filesize < 100KB and $secret and name == ".pgpass"
}

rule pypirc {
  meta:
    id = "pypirc-password"
    title = "Password in .pypirc"
    severity = "high"
  strings:
    $secret = /\bpassword\s{0,5}[=:]\s{0,5}\S{6,300}/
  condition:
    filesize < 100KB and $secret and name == ".pypirc"
}

rule git_credentials {
  meta:
    id = "git-credentials"
    title = "Password in git's credential store"
    severity = "critical"
  strings:
    $secret = /https?:\/\/[^\s:\/@]{1,100}:[^\s:\/@]{6,200}@[a-zA-Z0-9.-]{3,100}/
  condition:
    filesize < 100KB and $secret and (name == ".git-credentials" or name == ".gitconfig" or name == "config")
}

rule environment_file {
  meta:
    id = "environment-file"
    title = "Password or token in an environment file"
    severity = "high"
  strings:
    $secret = /(^|\n)\s{0,10}(export\s{1,5})?[A-Z0-9_]{0,60}(PASSWORD|PASSWD|SECRET|SECRET_KEY|API_KEY|APIKEY|ACCESS_TOKEN|AUTH_TOKEN|PRIVATE_KEY)=["']?[^\s"'$<>{}*#]{8,200}/
    $not_filler = /(PASSWORD|PASSWD|SECRET|SECRET_KEY|API_KEY|APIKEY|ACCESS_TOKEN|AUTH_TOKEN|PRIVATE_KEY)=["']?(change[_-]?me|your[_-]|replace|example|placeholder|xxxx|\/run\/secrets|\/[a-z]+\/)/ nocase
  condition:
    filesize < 100KB and #secret > #not_filler and (name == ".env" or name startswith ".env." or name endswith ".env")
    and not name endswith ".example" and not name endswith ".sample" and not name endswith ".template" and not name endswith ".dist"
}

rule htpasswd {
  meta:
    id = "htpasswd"
    title = "Password hashes of a web server"
    severity = "medium"
  strings:
    $secret = /(^|\n)[A-Za-z0-9_.@-]{1,60}:(\$apr1\$|\$2[aby]\$|\{SHA\})[A-Za-z0-9.\/$=+]{20,80}/
  condition:
    filesize < 1MB and $secret and (name == ".htpasswd" or name == "htpasswd")
}

rule shadow_hash {
  meta:
    id = "password-hash"
    title = "An account's password hash"
    severity = "medium"
  strings:
    $secret = /(^|\n)[a-z_][a-z0-9_-]{0,31}:\$(1|5|6|y|gy|2[aby])\$[^:\n]{10,150}:/
  condition:
    filesize < 1MB and $secret and (name == "shadow" or name == "shadow-")
}
