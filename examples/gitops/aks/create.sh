#!/usr/bin/env bash
# A cluster with workload identity, registry, Gateway, Azure Policy and Flux. It makes things that cost money.
# Needs: az, up to date and logged in, with the extensions k8s-extension and k8s-configuration.
set -euo pipefail
group=${GROUP:-acme} location=${LOCATION:-westeurope} cluster=${CLUSTER:-acme} registry=${REGISTRY:-acme}
repository=${REPOSITORY:-https://dev.azure.com/acme/platform/_git/config}

az group create --name "$group" --location "$location" --output none
az acr create --resource-group "$group" --name "$registry" --sku Standard --output none

# The nodes pull from the registry with the kubelet's identity.
az aks create --resource-group "$group" --name "$cluster" --attach-acr "$registry" --generate-ssh-keys \
  --enable-oidc-issuer --enable-workload-identity --enable-addons azure-policy \
  --enable-gateway-api --enable-app-routing-istio --output none

# Flux reads charts and Azure Repos as this identity, without a secret.
az identity create --resource-group "$group" --name flux --output none
client=$(az identity show --resource-group "$group" --name flux --query clientId --output tsv)
principal=$(az identity show --resource-group "$group" --name flux --query principalId --output tsv)
issuer=$(az aks show --resource-group "$group" --name "$cluster" --query oidcIssuerProfile.issuerUrl --output tsv)
scope=$(az acr show --resource-group "$group" --name "$registry" --query id --output tsv)
az role assignment create --assignee-object-id "$principal" --assignee-principal-type ServicePrincipal --role AcrPull \
  --scope "$scope" --output none
az identity federated-credential create --resource-group "$group" --identity-name flux --name source-controller --issuer "$issuer" \
  --subject system:serviceaccount:flux-system:source-controller --audiences api://AzureADTokenExchange --output none

az k8s-extension create --resource-group "$group" --cluster-name "$cluster" --cluster-type managedClusters \
  --name flux --extension-type microsoft.flux \
  --config workloadIdentity.enable=true "workloadIdentity.azureClientId=$client" --output none

# Before this works, the identity `flux` has to be a user of the Azure DevOps organization that may read the repository.
az k8s-configuration flux create --resource-group "$group" --cluster-name "$cluster" --cluster-type managedClusters \
  --name config --namespace gitops --scope cluster --url "$repository" --branch main --provider azure --interval 1m \
  --kustomization name=cluster path=./clusters/aks prune=true --output none
