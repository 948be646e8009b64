"""Protobuf field numbers of built-in kinds, written by hand: facts of the wire as kubectl and Go's typed clients up to Kubernetes
1.33 send them. They stand beside the table of core/v1 and meta/v1 that scripts/generate_protobuf.py makes (an older version of
these, so what came later is here).

One line is one message: `name number type`, separated by commas. A type is a scalar, a message of the same package,
`core.X` or `meta.X`, or one of `SHORT`; before it `[]` for a list, `{}` for a map from strings, `...` where JSON has the
message's fields in its parent. After a scalar, `!`: its zero is said, not a field left out, because Go has a pointer there
or JSON always writes the field. `name!` alone says this of a field that the generated table has.

Not here: fields that came later, whose numbers are refused with their message's name, and CustomResourceDefinitions, which
clients send as JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from towline.kube import protobuf_groups

CORE = "io.k8s.api.core.v1"
META = "io.k8s.apimachinery.pkg.apis.meta.v1"
RUNTIME = "io.k8s.apimachinery.pkg.runtime"

SCALARS = frozenset({"string", "bytes", "bool", "double", "int32", "int64", "uint32", "uint64"})

PACKAGES: Mapping[str, str] = {
    "v1": CORE,
    "apps/v1": "io.k8s.api.apps.v1",
    "batch/v1": "io.k8s.api.batch.v1",
    "autoscaling/v1": "io.k8s.api.autoscaling.v1",
    "autoscaling/v2": "io.k8s.api.autoscaling.v2",
    "networking.k8s.io/v1": "io.k8s.api.networking.v1",
    "discovery.k8s.io/v1": "io.k8s.api.discovery.v1",
    "policy/v1": "io.k8s.api.policy.v1",
    "rbac.authorization.k8s.io/v1": "io.k8s.api.rbac.v1",
    "storage.k8s.io/v1": "io.k8s.api.storage.v1",
    "events.k8s.io/v1": "io.k8s.api.events.v1",
    "node.k8s.io/v1": "io.k8s.api.node.v1",
    "scheduling.k8s.io/v1": "io.k8s.api.scheduling.v1",
    "coordination.k8s.io/v1": "io.k8s.api.coordination.v1",
    "admissionregistration.k8s.io/v1": "io.k8s.api.admissionregistration.v1",
    "authentication.k8s.io/v1": "io.k8s.api.authentication.v1",
    "authorization.k8s.io/v1": "io.k8s.api.authorization.v1",
}
"""apiVersion -> the package of its messages, as OpenAPI calls it."""

SHORT: Mapping[str, str] = {
    "Quantity": "io.k8s.apimachinery.pkg.api.resource.Quantity",
    "IntOrString": "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
    "RawExtension": f"{RUNTIME}.RawExtension",
}


class Field(NamedTuple):
    """`form`: "" one value, "list", "map" (from strings), or "inline": its fields stand in the parent. `zero`: whether
    a scalar's zero is a value; else it means that nobody said the field."""

    name: str
    of_type: str
    form: str = ""
    zero: bool = False


def written(known: Mapping[str, Mapping[int, Field]]) -> dict[str, dict[int, Field]]:
    """`known` (message -> number -> field) with the fields below."""
    table = {message: dict(fields) for message, fields in known.items()}
    for package, text in _TABLES.items():
        for message, said in _lines(text):
            fields = table.setdefault(f"{package}.{message}", {})
            for name, number, form, of_type, zero in said:
                if number:
                    fields[int(number)] = Field(name, _full(package, of_type), _FORMS[form], bool(zero))
                else:
                    at = next(at for at, field in fields.items() if field.name == name)
                    fields[at] = fields[at]._replace(zero=True)
    return table


_FORMS = {"": "", "[]": "list", "{}": "map", "...": "inline"}
_FIELD = re.compile(r"(\w+)(?: (\d+) (\[\]|\{\}|\.\.\.|)([\w.]+))?(!?)")


def _lines(text: str) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    for line in re.sub(r",\s*\n\s*", ", ", text).split("\n"):
        message, colon, fields = line.strip().partition(": ")
        if colon:
            found = [_FIELD.fullmatch(field.strip()) for field in fields.split(",")]
            assert all(found), line
            yield message, [match.groups() for match in found if match]


def _full(package: str, of_type: str) -> str:
    if of_type in SCALARS:
        return of_type
    if of_type in SHORT:
        return SHORT[of_type]
    prefix, dot, name = of_type.partition(".")
    return f"{CORE if prefix == 'core' else META}.{name}" if dot else f"{package}.{of_type}"


_META_V1 = """
    ListMeta: remainingItemCount 4 int64!
    ObjectMeta: deletionGracePeriodSeconds!
    OwnerReference: controller!, blockOwnerDeletion!
    ManagedFieldsEntry: fieldsType 6 string, fieldsV1 7 FieldsV1, subresource 8 string
    FieldsV1: Raw 1 bytes
    Preconditions: uid!, resourceVersion 2 string!
    DeleteOptions: gracePeriodSeconds!, orphanDependents!, propagationPolicy!,
        ignoreStoreReadErrorWithClusterBreakingPotential 6 bool!
    Condition: type 1 string!, status 2 string!, observedGeneration 3 int64, lastTransitionTime 4 Time,
        reason 5 string!, message 6 string!
    FieldSelectorRequirement: key 1 string!, operator 2 string!, values 3 []string
"""

_CORE_V1_PODS = """
    PodSpec: terminationGracePeriodSeconds!, activeDeadlineSeconds!, automountServiceAccountToken!,
        shareProcessNamespace!, priority!, runtimeClassName!, enableServiceLinks!, preemptionPolicy 31 string!,
        overhead 32 {}Quantity, topologySpreadConstraints 33 []TopologySpreadConstraint,
        ephemeralContainers 34 []EphemeralContainer, setHostnameAsFQDN 35 bool!, os 36 PodOS, hostUsers 37 bool!,
        schedulingGates 38 []PodSchedulingGate, resourceClaims 39 []PodResourceClaim, resources 40 ResourceRequirements
    PodOS: name 1 string!
    PodSchedulingGate: name 1 string!
    PodResourceClaim: name 1 string!, resourceClaimName 3 string!, resourceClaimTemplateName 4 string!
    TopologySpreadConstraint: maxSkew 1 int32!, topologyKey 2 string!, whenUnsatisfiable 3 string!,
        labelSelector 4 meta.LabelSelector, minDomains 5 int32!, nodeAffinityPolicy 6 string!,
        nodeTaintsPolicy 7 string!, matchLabelKeys 8 []string
    PodAffinityTerm: namespaceSelector 4 meta.LabelSelector, matchLabelKeys 5 []string, mismatchLabelKeys 6 []string
    PodDNSConfigOption: value!
    Toleration: tolerationSeconds!
    PodSecurityContext: runAsUser!, runAsNonRoot!, fsGroup!, runAsGroup!, windowsOptions 8 WindowsSecurityContextOptions,
        fsGroupChangePolicy 9 string!, seccompProfile 10 SeccompProfile, appArmorProfile 11 AppArmorProfile,
        supplementalGroupsPolicy 12 string!, seLinuxChangePolicy 13 string!
    SecurityContext: privileged!, runAsUser!, runAsNonRoot!, readOnlyRootFilesystem!, allowPrivilegeEscalation!,
        runAsGroup!, procMount!, windowsOptions 10 WindowsSecurityContextOptions, seccompProfile 11 SeccompProfile,
        appArmorProfile 12 AppArmorProfile
    WindowsSecurityContextOptions: gmsaCredentialSpecName 1 string!, gmsaCredentialSpec 2 string!,
        runAsUserName 3 string!, hostProcess 4 bool!
    SeccompProfile: type 1 string!, localhostProfile 2 string!
    AppArmorProfile: type 1 string!, localhostProfile 2 string!
    Container: startupProbe 22 Probe, resizePolicy 23 []ContainerResizePolicy, restartPolicy 24 string!
    EphemeralContainer: ephemeralContainerCommon 1 ...Container, targetContainerName 2 string
    ContainerResizePolicy: resourceName 1 string!, restartPolicy 2 string!
    ResourceRequirements: claims 3 []ResourceClaim
    ResourceClaim: name 1 string!, request 2 string
    Probe: handler 1 ...ProbeHandler, terminationGracePeriodSeconds 7 int64!
    ProbeHandler: exec 1 ExecAction, httpGet 2 HTTPGetAction, tcpSocket 3 TCPSocketAction, grpc 4 GRPCAction
    GRPCAction: port 1 int32!, service 2 string!
    Lifecycle: postStart 1 LifecycleHandler, preStop 2 LifecycleHandler, stopSignal 3 string!
    LifecycleHandler: exec 1 ExecAction, httpGet 2 HTTPGetAction, tcpSocket 3 TCPSocketAction, sleep 4 SleepAction
    SleepAction: seconds 1 int64!
    ConfigMapEnvSource: localObjectReference 1 ...LocalObjectReference, optional!
    ConfigMapKeySelector: localObjectReference 1 ...LocalObjectReference, optional!
    SecretEnvSource: localObjectReference 1 ...LocalObjectReference, optional!
    SecretKeySelector: localObjectReference 1 ...LocalObjectReference, optional!
    PodStatus: podIPs 12 []PodIP, ephemeralContainerStatuses 13 []ContainerStatus, resize 14 string,
        resourceClaimStatuses 15 []PodResourceClaimStatus, hostIPs 16 []HostIP,
        observedGeneration 17 int64
    PodCondition: observedGeneration 7 int64
    PodIP: ip 1 string!
    HostIP: ip 1 string!
    PodResourceClaimStatus: name 1 string!, resourceClaimName 2 string!
    ContainerStatus: started 9 bool!, allocatedResources 10 {}Quantity, resources 11 ResourceRequirements,
        volumeMounts 12 []VolumeMountStatus, user 13 ContainerUser, allocatedResourcesStatus 14 []ResourceStatus,
        stopSignal 15 string!
    VolumeMountStatus: name 1 string!, mountPath 2 string!, readOnly 3 bool, recursiveReadOnly 4 string!
    ContainerUser: linux 1 LinuxContainerUser
    LinuxContainerUser: uid 1 int64!, gid 2 int64!, supplementalGroups 3 []int64
    ResourceStatus: name 1 string!, resources 2 []ResourceHealth
    ResourceHealth: resourceID 1 string!, health 2 string
"""

_CORE_V1_VOLUMES = """
    Volume: volumeSource 2 ...VolumeSource
    VolumeSource: ephemeral 29 EphemeralVolumeSource, image 30 ImageVolumeSource
    EphemeralVolumeSource: volumeClaimTemplate 1 PersistentVolumeClaimTemplate
    PersistentVolumeClaimTemplate: metadata 1 meta.ObjectMeta, spec 2 PersistentVolumeClaimSpec
    ImageVolumeSource: reference 1 string, pullPolicy 2 string
    VolumeMount: mountPropagation!, recursiveReadOnly 7 string!
    VolumeProjection: clusterTrustBundle 5 ClusterTrustBundleProjection
    ClusterTrustBundleProjection: name 1 string!, signerName 2 string!, labelSelector 3 meta.LabelSelector,
        path 4 string!, optional 5 bool!
    ConfigMapVolumeSource: localObjectReference 1 ...LocalObjectReference, defaultMode!, optional!
    ConfigMapProjection: localObjectReference 1 ...LocalObjectReference, optional!
    SecretVolumeSource: defaultMode!, optional!
    SecretProjection: localObjectReference 1 ...LocalObjectReference, optional!
    ProjectedVolumeSource: defaultMode!
    DownwardAPIVolumeSource: defaultMode!
    DownwardAPIVolumeFile: mode!
    KeyToPath: mode!
    ServiceAccountTokenProjection: expirationSeconds!
    AzureDiskVolumeSource: cachingMode!, fsType!, readOnly!, kind!
    AzureFilePersistentVolumeSource: secretNamespace!
    CSIVolumeSource: readOnly!, fsType!
    CSIPersistentVolumeSource: controllerExpandSecretRef 9 SecretReference, nodeExpandSecretRef 10 SecretReference
    FCVolumeSource: lun!
    GlusterfsPersistentVolumeSource: endpointsNamespace!
    HostPathVolumeSource: type!
    ISCSIVolumeSource: initiatorName!
    ISCSIPersistentVolumeSource: initiatorName!
    LocalVolumeSource: fsType!
    PersistentVolumeSpec: persistentVolumeSource 2 ...PersistentVolumeSource, volumeMode!,
        volumeAttributesClassName 10 string!
    PersistentVolumeStatus: lastPhaseTransitionTime 4 meta.Time
    PersistentVolumeClaimSpec: resources 2 VolumeResourceRequirements, storageClassName!, volumeMode!,
        dataSourceRef 8 TypedObjectReference, volumeAttributesClassName 9 string!
    VolumeResourceRequirements: limits 1 {}Quantity, requests 2 {}Quantity
    TypedLocalObjectReference: apiGroup!
    TypedObjectReference: apiGroup 1 string!, kind 2 string!, name 3 string!, namespace 4 string!
    PersistentVolumeClaimStatus: allocatedResources 5 {}Quantity, allocatedResourceStatuses 7 {}string,
        currentVolumeAttributesClassName 8 string!, modifyVolumeStatus 9 ModifyVolumeStatus
    ModifyVolumeStatus: targetVolumeAttributesClassName 1 string, status 2 string!
"""

_CORE_V1_OTHERS = """
    ConfigMap: immutable 4 bool!
    Secret: immutable 5 bool!
    ServiceAccount: automountServiceAccountToken!
    ReplicationControllerSpec: replicas!
    ClientIPConfig: timeoutSeconds!
    EndpointAddress: nodeName!
    Event: reportingComponent!, reportingInstance!
    EndpointPort: appProtocol 4 string!
    ServicePort: appProtocol 6 string!
    ServiceSpec: ipFamilyPolicy 17 string!, clusterIPs 18 []string, ipFamilies 19 []string,
        allocateLoadBalancerNodePorts 20 bool!, loadBalancerClass 21 string!, internalTrafficPolicy 22 string!,
        trafficDistribution 23 string!
    ServiceStatus: conditions 2 []meta.Condition
    LoadBalancerIngress: ipMode 3 string!, ports 4 []PortStatus
    PortStatus: port 1 int32!, protocol 2 string!, error 3 string!
    NamespaceStatus: conditions 2 []NamespaceCondition
    NamespaceCondition: type 1 string!, status 2 string!, lastTransitionTime 4 meta.Time, reason 5 string,
        message 6 string
    NodeSpec: podCIDRs 7 []string
    NodeStatus: runtimeHandlers 12 []NodeRuntimeHandler, features 13 NodeFeatures
    NodeRuntimeHandler: name 1 string!, features 2 NodeRuntimeHandlerFeatures
    NodeRuntimeHandlerFeatures: recursiveReadOnlyMounts 1 bool!, userNamespaces 2 bool!
    NodeFeatures: supplementalGroupsPolicy 1 bool!
"""

_APPS_V1 = """
    Deployment: metadata 1 meta.ObjectMeta, spec 2 DeploymentSpec, status 3 DeploymentStatus
    DeploymentSpec: replicas 1 int32!, selector 2 meta.LabelSelector, template 3 core.PodTemplateSpec,
        strategy 4 DeploymentStrategy, minReadySeconds 5 int32, revisionHistoryLimit 6 int32!, paused 7 bool,
        progressDeadlineSeconds 9 int32!
    DeploymentStrategy: type 1 string, rollingUpdate 2 RollingUpdateDeployment
    RollingUpdateDeployment: maxUnavailable 1 IntOrString, maxSurge 2 IntOrString
    DeploymentStatus: observedGeneration 1 int64, replicas 2 int32, updatedReplicas 3 int32, availableReplicas 4 int32,
        unavailableReplicas 5 int32, conditions 6 []DeploymentCondition, readyReplicas 7 int32, collisionCount 8 int32!,
        terminatingReplicas 9 int32!
    DeploymentCondition: type 1 string!, status 2 string!, reason 4 string, message 5 string,
        lastUpdateTime 6 meta.Time, lastTransitionTime 7 meta.Time
    ReplicaSet: metadata 1 meta.ObjectMeta, spec 2 ReplicaSetSpec, status 3 ReplicaSetStatus
    ReplicaSetSpec: replicas 1 int32!, selector 2 meta.LabelSelector, template 3 core.PodTemplateSpec,
        minReadySeconds 4 int32
    ReplicaSetStatus: replicas 1 int32!, fullyLabeledReplicas 2 int32, observedGeneration 3 int64,
        readyReplicas 4 int32, availableReplicas 5 int32, conditions 6 []ReplicaSetCondition,
        terminatingReplicas 7 int32!
    ReplicaSetCondition: type 1 string!, status 2 string!, lastTransitionTime 3 meta.Time, reason 4 string,
        message 5 string
    StatefulSet: metadata 1 meta.ObjectMeta, spec 2 StatefulSetSpec, status 3 StatefulSetStatus
    StatefulSetSpec: replicas 1 int32!, selector 2 meta.LabelSelector, template 3 core.PodTemplateSpec,
        volumeClaimTemplates 4 []core.PersistentVolumeClaim, serviceName 5 string!, podManagementPolicy 6 string,
        updateStrategy 7 StatefulSetUpdateStrategy, revisionHistoryLimit 8 int32!, minReadySeconds 9 int32,
        persistentVolumeClaimRetentionPolicy 10 StatefulSetPersistentVolumeClaimRetentionPolicy,
        ordinals 11 StatefulSetOrdinals
    StatefulSetUpdateStrategy: type 1 string, rollingUpdate 2 RollingUpdateStatefulSetStrategy
    RollingUpdateStatefulSetStrategy: partition 1 int32!, maxUnavailable 2 IntOrString
    StatefulSetPersistentVolumeClaimRetentionPolicy: whenDeleted 1 string, whenScaled 2 string
    StatefulSetOrdinals: start 1 int32!
    StatefulSetStatus: observedGeneration 1 int64, replicas 2 int32!, readyReplicas 3 int32, currentReplicas 4 int32,
        updatedReplicas 5 int32, currentRevision 6 string, updateRevision 7 string, collisionCount 9 int32!,
        conditions 10 []StatefulSetCondition, availableReplicas 11 int32!
    StatefulSetCondition: type 1 string!, status 2 string!, lastTransitionTime 3 meta.Time, reason 4 string,
        message 5 string
    DaemonSet: metadata 1 meta.ObjectMeta, spec 2 DaemonSetSpec, status 3 DaemonSetStatus
    DaemonSetSpec: selector 1 meta.LabelSelector, template 2 core.PodTemplateSpec, updateStrategy 3 DaemonSetUpdateStrategy,
        minReadySeconds 4 int32, revisionHistoryLimit 6 int32!
    DaemonSetUpdateStrategy: type 1 string, rollingUpdate 2 RollingUpdateDaemonSet
    RollingUpdateDaemonSet: maxUnavailable 1 IntOrString, maxSurge 2 IntOrString
    DaemonSetStatus: currentNumberScheduled 1 int32!, numberMisscheduled 2 int32!, desiredNumberScheduled 3 int32!,
        numberReady 4 int32!, observedGeneration 5 int64, updatedNumberScheduled 6 int32, numberAvailable 7 int32,
        numberUnavailable 8 int32, collisionCount 9 int32!, conditions 10 []DaemonSetCondition
    DaemonSetCondition: type 1 string!, status 2 string!, lastTransitionTime 3 meta.Time, reason 4 string,
        message 5 string
    ControllerRevision: metadata 1 meta.ObjectMeta, data 2 RawExtension, revision 3 int64!
"""

_BATCH_V1 = """
    Job: metadata 1 meta.ObjectMeta, spec 2 JobSpec, status 3 JobStatus
    JobSpec: parallelism 1 int32!, completions 2 int32!, activeDeadlineSeconds 3 int64!, selector 4 meta.LabelSelector,
        manualSelector 5 bool!, template 6 core.PodTemplateSpec, backoffLimit 7 int32!, ttlSecondsAfterFinished 8 int32!,
        completionMode 9 string!, suspend 10 bool!, podFailurePolicy 11 PodFailurePolicy, backoffLimitPerIndex 12 int32!,
        maxFailedIndexes 13 int32!, podReplacementPolicy 14 string!, managedBy 15 string!, successPolicy 16 SuccessPolicy
    PodFailurePolicy: rules 1 []PodFailurePolicyRule
    PodFailurePolicyRule: action 1 string!, onExitCodes 2 PodFailurePolicyOnExitCodesRequirement,
        onPodConditions 3 []PodFailurePolicyOnPodConditionsPattern
    PodFailurePolicyOnExitCodesRequirement: containerName 1 string!, operator 2 string!, values 3 []int32
    PodFailurePolicyOnPodConditionsPattern: type 1 string!, status 2 string!
    SuccessPolicy: rules 1 []SuccessPolicyRule
    SuccessPolicyRule: succeededIndexes 1 string!, succeededCount 2 int32!
    JobStatus: conditions 1 []JobCondition, startTime 2 meta.Time, completionTime 3 meta.Time, active 4 int32,
        succeeded 5 int32, failed 6 int32, completedIndexes 7 string, uncountedTerminatedPods 8 UncountedTerminatedPods,
        ready 9 int32!, failedIndexes 10 string!, terminating 11 int32!
    UncountedTerminatedPods: succeeded 1 []string, failed 2 []string
    JobCondition: type 1 string!, status 2 string!, lastProbeTime 3 meta.Time, lastTransitionTime 4 meta.Time,
        reason 5 string, message 6 string
    JobTemplateSpec: metadata 1 meta.ObjectMeta, spec 2 JobSpec
    CronJob: metadata 1 meta.ObjectMeta, spec 2 CronJobSpec, status 3 CronJobStatus
    CronJobSpec: schedule 1 string!, startingDeadlineSeconds 2 int64!, concurrencyPolicy 3 string, suspend 4 bool!,
        jobTemplate 5 JobTemplateSpec, successfulJobsHistoryLimit 6 int32!, failedJobsHistoryLimit 7 int32!,
        timeZone 8 string!
    CronJobStatus: active 1 []core.ObjectReference, lastScheduleTime 4 meta.Time, lastSuccessfulTime 5 meta.Time
"""

_RBAC_V1 = """
    Role: metadata 1 meta.ObjectMeta, rules 2 []PolicyRule
    ClusterRole: metadata 1 meta.ObjectMeta, rules 2 []PolicyRule, aggregationRule 3 AggregationRule
    AggregationRule: clusterRoleSelectors 1 []meta.LabelSelector
    PolicyRule: verbs 1 []string, apiGroups 2 []string, resources 3 []string, resourceNames 4 []string,
        nonResourceURLs 5 []string
    RoleBinding: metadata 1 meta.ObjectMeta, subjects 2 []Subject, roleRef 3 RoleRef
    ClusterRoleBinding: metadata 1 meta.ObjectMeta, subjects 2 []Subject, roleRef 3 RoleRef
    Subject: kind 1 string!, apiGroup 2 string, name 3 string!, namespace 4 string
    RoleRef: apiGroup 1 string!, kind 2 string!, name 3 string!
"""

_POLICY_V1 = """
    PodDisruptionBudget: metadata 1 meta.ObjectMeta, spec 2 PodDisruptionBudgetSpec, status 3 PodDisruptionBudgetStatus
    PodDisruptionBudgetSpec: minAvailable 1 IntOrString, selector 2 meta.LabelSelector, maxUnavailable 3 IntOrString,
        unhealthyPodEvictionPolicy 4 string!
    PodDisruptionBudgetStatus: observedGeneration 1 int64, disruptedPods 2 {}meta.Time, disruptionsAllowed 3 int32!,
        currentHealthy 4 int32!, desiredHealthy 5 int32!, expectedPods 6 int32!, conditions 7 []meta.Condition
    Eviction: metadata 1 meta.ObjectMeta, deleteOptions 2 meta.DeleteOptions
"""

_NETWORKING_V1 = """
    Ingress: metadata 1 meta.ObjectMeta, spec 2 IngressSpec, status 3 IngressStatus
    IngressSpec: defaultBackend 1 IngressBackend, tls 2 []IngressTLS, rules 3 []IngressRule, ingressClassName 4 string!
    IngressBackend: resource 3 core.TypedLocalObjectReference, service 4 IngressServiceBackend
    IngressServiceBackend: name 1 string!, port 2 ServiceBackendPort
    ServiceBackendPort: name 1 string, number 2 int32
    IngressTLS: hosts 1 []string, secretName 2 string
    IngressRule: host 1 string, ingressRuleValue 2 ...IngressRuleValue
    IngressRuleValue: http 1 HTTPIngressRuleValue
    HTTPIngressRuleValue: paths 1 []HTTPIngressPath
    HTTPIngressPath: path 1 string, backend 2 IngressBackend, pathType 3 string!
    IngressStatus: loadBalancer 1 IngressLoadBalancerStatus
    IngressLoadBalancerStatus: ingress 1 []IngressLoadBalancerIngress
    IngressLoadBalancerIngress: ip 1 string, hostname 2 string, ports 4 []IngressPortStatus
    IngressPortStatus: port 1 int32!, protocol 2 string!, error 3 string!
    IngressClass: metadata 1 meta.ObjectMeta, spec 2 IngressClassSpec
    IngressClassSpec: controller 1 string, parameters 2 IngressClassParametersReference
    IngressClassParametersReference: apiGroup 1 string!, kind 2 string!, name 3 string!, scope 4 string!,
        namespace 5 string!
    NetworkPolicy: metadata 1 meta.ObjectMeta, spec 2 NetworkPolicySpec
    NetworkPolicySpec: podSelector 1 meta.LabelSelector, ingress 2 []NetworkPolicyIngressRule,
        egress 3 []NetworkPolicyEgressRule, policyTypes 4 []string
    NetworkPolicyIngressRule: ports 1 []NetworkPolicyPort, from 2 []NetworkPolicyPeer
    NetworkPolicyEgressRule: ports 1 []NetworkPolicyPort, to 2 []NetworkPolicyPeer
    NetworkPolicyPort: protocol 1 string!, port 2 IntOrString, endPort 3 int32!
    NetworkPolicyPeer: podSelector 1 meta.LabelSelector, namespaceSelector 2 meta.LabelSelector, ipBlock 3 IPBlock
    IPBlock: cidr 1 string!, except 2 []string
"""

_ADMISSIONREGISTRATION_V1 = """
    ValidatingWebhookConfiguration: metadata 1 meta.ObjectMeta, webhooks 2 []ValidatingWebhook
    MutatingWebhookConfiguration: metadata 1 meta.ObjectMeta, webhooks 2 []MutatingWebhook
    ValidatingWebhook: name 1 string!, clientConfig 2 WebhookClientConfig, rules 3 []RuleWithOperations,
        failurePolicy 4 string!, namespaceSelector 5 meta.LabelSelector, sideEffects 6 string!, timeoutSeconds 7 int32!,
        admissionReviewVersions 8 []string, matchPolicy 9 string!, objectSelector 10 meta.LabelSelector,
        matchConditions 11 []MatchCondition
    MutatingWebhook: name 1 string!, clientConfig 2 WebhookClientConfig, rules 3 []RuleWithOperations,
        failurePolicy 4 string!, namespaceSelector 5 meta.LabelSelector, sideEffects 6 string!, timeoutSeconds 7 int32!,
        admissionReviewVersions 8 []string, matchPolicy 9 string!, reinvocationPolicy 10 string!,
        objectSelector 11 meta.LabelSelector, matchConditions 12 []MatchCondition
    WebhookClientConfig: service 1 ServiceReference, caBundle 2 bytes, url 3 string!
    ServiceReference: namespace 1 string!, name 2 string!, path 3 string!, port 4 int32!
    RuleWithOperations: operations 1 []string, rule 2 ...Rule
    Rule: apiGroups 1 []string, apiVersions 2 []string, resources 3 []string, scope 4 string!
    MatchCondition: name 1 string!, expression 2 string!
"""

_AUTHENTICATION_V1 = """
    SelfSubjectReview: metadata 1 meta.ObjectMeta, status 2 SelfSubjectReviewStatus
    SelfSubjectReviewStatus: userInfo 1 UserInfo
    UserInfo: username 1 string, uid 2 string, groups 3 []string, extra 4 {}ExtraValue
    ExtraValue: items 1 []string
    TokenRequest: metadata 1 meta.ObjectMeta, spec 2 TokenRequestSpec, status 3 TokenRequestStatus
    TokenRequestSpec: audiences 1 []string, boundObjectRef 3 BoundObjectReference, expirationSeconds 4 int64!
    TokenRequestStatus: token 1 string, expirationTimestamp 2 meta.Time
    BoundObjectReference: kind 1 string, apiVersion 2 string, name 3 string, uid 4 string
    TokenReview: metadata 1 meta.ObjectMeta, spec 2 TokenReviewSpec, status 3 TokenReviewStatus
    TokenReviewSpec: token 1 string!, audiences 2 []string
    TokenReviewStatus: authenticated 1 bool, user 2 UserInfo, error 3 string, audiences 4 []string
"""

_AUTHORIZATION_V1 = """
    SelfSubjectAccessReview: metadata 1 meta.ObjectMeta, spec 2 SelfSubjectAccessReviewSpec,
        status 3 SubjectAccessReviewStatus
    SelfSubjectAccessReviewSpec: resourceAttributes 1 ResourceAttributes, nonResourceAttributes 2 NonResourceAttributes
    ResourceAttributes: namespace 1 string, verb 2 string, group 3 string, version 4 string, resource 5 string,
        subresource 6 string, name 7 string, fieldSelector 8 FieldSelectorAttributes,
        labelSelector 9 LabelSelectorAttributes
    FieldSelectorAttributes: rawSelector 1 string, requirements 2 []meta.FieldSelectorRequirement
    LabelSelectorAttributes: rawSelector 1 string, requirements 2 []meta.LabelSelectorRequirement
    NonResourceAttributes: path 1 string, verb 2 string
    SubjectAccessReviewStatus: allowed 1 bool!, reason 2 string, evaluationError 3 string, denied 4 bool
    SubjectAccessReview: metadata 1 meta.ObjectMeta, spec 2 SubjectAccessReviewSpec, status 3 SubjectAccessReviewStatus
    LocalSubjectAccessReview: metadata 1 meta.ObjectMeta, spec 2 SubjectAccessReviewSpec,
        status 3 SubjectAccessReviewStatus
    SubjectAccessReviewSpec: resourceAttributes 1 ResourceAttributes, nonResourceAttributes 2 NonResourceAttributes,
        user 3 string, groups 4 []string, extra 5 {}ExtraValue, uid 6 string
    ExtraValue: items 1 []string
    SelfSubjectRulesReview: metadata 1 meta.ObjectMeta, spec 2 SelfSubjectRulesReviewSpec,
        status 3 SubjectRulesReviewStatus
    SelfSubjectRulesReviewSpec: namespace 1 string
    SubjectRulesReviewStatus: resourceRules 1 []ResourceRule, nonResourceRules 2 []NonResourceRule, incomplete 3 bool!,
        evaluationError 4 string
    ResourceRule: verbs 1 []string, apiGroups 2 []string, resources 3 []string, resourceNames 4 []string
    NonResourceRule: verbs 1 []string, nonResourceURLs 2 []string
"""

_TABLES: Mapping[str, str] = {
    META: _META_V1,
    CORE: _CORE_V1_PODS + _CORE_V1_VOLUMES + _CORE_V1_OTHERS,
    PACKAGES["apps/v1"]: _APPS_V1,
    PACKAGES["batch/v1"]: _BATCH_V1,
    PACKAGES["rbac.authorization.k8s.io/v1"]: _RBAC_V1,
    PACKAGES["policy/v1"]: _POLICY_V1,
    PACKAGES["networking.k8s.io/v1"]: _NETWORKING_V1,
    PACKAGES["autoscaling/v1"]: protobuf_groups.AUTOSCALING_V1,
    PACKAGES["autoscaling/v2"]: protobuf_groups.AUTOSCALING_V2,
    PACKAGES["storage.k8s.io/v1"]: protobuf_groups.STORAGE_V1,
    PACKAGES["events.k8s.io/v1"]: protobuf_groups.EVENTS_V1,
    PACKAGES["node.k8s.io/v1"]: protobuf_groups.NODE_V1,
    PACKAGES["scheduling.k8s.io/v1"]: protobuf_groups.SCHEDULING_V1,
    PACKAGES["coordination.k8s.io/v1"]: protobuf_groups.COORDINATION_V1,
    PACKAGES["discovery.k8s.io/v1"]: protobuf_groups.DISCOVERY_V1,
    PACKAGES["admissionregistration.k8s.io/v1"]: _ADMISSIONREGISTRATION_V1,
    PACKAGES["authentication.k8s.io/v1"]: _AUTHENTICATION_V1,
    PACKAGES["authorization.k8s.io/v1"]: _AUTHORIZATION_V1,
}
