#!/usr/bin/env bash
# Azure Policy: in the namespace `shop`, images come from the company's registry, or their pods are refused.
set -euo pipefail
group=${GROUP:-acme} cluster=${CLUSTER:-acme} registry=${REGISTRY:-acme}
scope=$(az aks show --resource-group "$group" --name "$cluster" --query id --output tsv)
parameters=$(cat <<JSON
{
  "effect": {"value": "Deny"},
  "namespaces": {"value": ["shop"]},
  "allowedContainerImagesRegex": {"value": "^$registry[.]azurecr[.]io/.+\$"}
}
JSON
)
# "Kubernetes cluster containers should only use allowed images", built in.
az policy assignment create --name shop-images --display-name "Images of shop come from $registry" --scope "$scope" \
  --policy febd0533-8e55-448f-b837-bd0e06f16469 --params "$parameters"
