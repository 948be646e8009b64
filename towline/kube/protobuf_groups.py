"""Protobuf field numbers of the smaller groups, in the notation of protobuf_fields.py."""

AUTOSCALING_V1 = """
    HorizontalPodAutoscaler: metadata 1 meta.ObjectMeta, spec 2 HorizontalPodAutoscalerSpec,
        status 3 HorizontalPodAutoscalerStatus
    HorizontalPodAutoscalerSpec: scaleTargetRef 1 CrossVersionObjectReference, minReplicas 2 int32!, maxReplicas 3 int32!,
        targetCPUUtilizationPercentage 4 int32!
    CrossVersionObjectReference: kind 1 string!, name 2 string!, apiVersion 3 string
    HorizontalPodAutoscalerStatus: observedGeneration 1 int64!, lastScaleTime 2 meta.Time, currentReplicas 3 int32!,
        desiredReplicas 4 int32!, currentCPUUtilizationPercentage 5 int32!
    Scale: metadata 1 meta.ObjectMeta, spec 2 ScaleSpec, status 3 ScaleStatus
    ScaleSpec: replicas 1 int32
    ScaleStatus: replicas 1 int32!, selector 2 string
"""

AUTOSCALING_V2 = """
    HorizontalPodAutoscaler: metadata 1 meta.ObjectMeta, spec 2 HorizontalPodAutoscalerSpec,
        status 3 HorizontalPodAutoscalerStatus
    HorizontalPodAutoscalerSpec: scaleTargetRef 1 CrossVersionObjectReference, minReplicas 2 int32!, maxReplicas 3 int32!,
        metrics 4 []MetricSpec, behavior 5 HorizontalPodAutoscalerBehavior
    CrossVersionObjectReference: kind 1 string!, name 2 string!, apiVersion 3 string
    MetricSpec: type 1 string!, object 2 ObjectMetricSource, pods 3 PodsMetricSource, resource 4 ResourceMetricSource,
        external 5 ExternalMetricSource, containerResource 7 ContainerResourceMetricSource
    ObjectMetricSource: describedObject 1 CrossVersionObjectReference, target 2 MetricTarget, metric 3 MetricIdentifier
    PodsMetricSource: metric 1 MetricIdentifier, target 2 MetricTarget
    ResourceMetricSource: name 1 string!, target 2 MetricTarget
    ContainerResourceMetricSource: name 1 string!, target 2 MetricTarget, container 3 string!
    ExternalMetricSource: metric 1 MetricIdentifier, target 2 MetricTarget
    MetricIdentifier: name 1 string!, selector 2 meta.LabelSelector
    MetricTarget: type 1 string!, value 2 Quantity, averageValue 3 Quantity, averageUtilization 4 int32!
    HorizontalPodAutoscalerBehavior: scaleUp 1 HPAScalingRules, scaleDown 2 HPAScalingRules
    HPAScalingRules: selectPolicy 1 string!, policies 2 []HPAScalingPolicy, stabilizationWindowSeconds 3 int32!,
        tolerance 4 Quantity
    HPAScalingPolicy: type 1 string!, value 2 int32!, periodSeconds 3 int32!
    HorizontalPodAutoscalerStatus: observedGeneration 1 int64!, lastScaleTime 2 meta.Time, currentReplicas 3 int32,
        desiredReplicas 4 int32!, currentMetrics 5 []MetricStatus, conditions 6 []HorizontalPodAutoscalerCondition
    HorizontalPodAutoscalerCondition: type 1 string!, status 2 string!, lastTransitionTime 3 meta.Time, reason 4 string,
        message 5 string
    MetricStatus: type 1 string!, object 2 ObjectMetricStatus, pods 3 PodsMetricStatus, resource 4 ResourceMetricStatus,
        external 5 ExternalMetricStatus, containerResource 7 ContainerResourceMetricStatus
    ObjectMetricStatus: metric 1 MetricIdentifier, current 2 MetricValueStatus,
        describedObject 3 CrossVersionObjectReference
    PodsMetricStatus: metric 1 MetricIdentifier, current 2 MetricValueStatus
    ResourceMetricStatus: name 1 string!, current 2 MetricValueStatus
    ContainerResourceMetricStatus: name 1 string!, current 2 MetricValueStatus, container 3 string!
    ExternalMetricStatus: metric 1 MetricIdentifier, current 2 MetricValueStatus
    MetricValueStatus: value 1 Quantity, averageValue 2 Quantity, averageUtilization 3 int32!
"""

STORAGE_V1 = """
    CSIDriver: metadata 1 meta.ObjectMeta, spec 2 CSIDriverSpec
    CSIDriverSpec: attachRequired 1 bool!, podInfoOnMount 2 bool!, volumeLifecycleModes 3 []string, storageCapacity 4 bool!,
        fsGroupPolicy 5 string!, tokenRequests 6 []TokenRequest, requiresRepublish 7 bool!, seLinuxMount 8 bool!,
        nodeAllocatableUpdatePeriodSeconds 9 int64!
    TokenRequest: audience 1 string!, expirationSeconds 2 int64!
    VolumeAttributesClass: metadata 1 meta.ObjectMeta, driverName 2 string!, parameters 3 {}string
    StorageClass: metadata 1 meta.ObjectMeta, provisioner 2 string!, parameters 3 {}string, reclaimPolicy 4 string!,
        mountOptions 5 []string, allowVolumeExpansion 6 bool!, volumeBindingMode 7 string!,
        allowedTopologies 8 []core.TopologySelectorTerm
"""

SCHEDULING_V1 = """
    PriorityClass: metadata 1 meta.ObjectMeta, value 2 int32!, globalDefault 3 bool, description 4 string,
        preemptionPolicy 5 string!
"""

COORDINATION_V1 = """
    Lease: metadata 1 meta.ObjectMeta, spec 2 LeaseSpec
    LeaseSpec: holderIdentity 1 string!, leaseDurationSeconds 2 int32!, acquireTime 3 meta.MicroTime,
        renewTime 4 meta.MicroTime, leaseTransitions 5 int32!, strategy 6 string!, preferredHolder 7 string!
"""

DISCOVERY_V1 = """
    EndpointSlice: metadata 1 meta.ObjectMeta, endpoints 2 []Endpoint, ports 3 []EndpointPort, addressType 4 string!
    Endpoint: addresses 1 []string, conditions 2 EndpointConditions, hostname 3 string!, targetRef 4 core.ObjectReference,
        deprecatedTopology 5 {}string, nodeName 6 string!, zone 7 string!, hints 8 EndpointHints
    EndpointConditions: ready 1 bool!, serving 2 bool!, terminating 3 bool!
    EndpointHints: forZones 1 []ForZone, forNodes 2 []ForNode
    ForNode: name 1 string!
    ForZone: name 1 string!
    EndpointPort: name 1 string!, protocol 2 string!, port 3 int32!, appProtocol 4 string!
"""

EVENTS_V1 = """
    Event: metadata 1 meta.ObjectMeta, eventTime 2 meta.MicroTime, series 3 EventSeries, reportingController 4 string,
        reportingInstance 5 string, action 6 string, reason 7 string, regarding 8 core.ObjectReference,
        related 9 core.ObjectReference, note 10 string, type 11 string, deprecatedSource 12 core.EventSource,
        deprecatedFirstTimestamp 13 meta.Time, deprecatedLastTimestamp 14 meta.Time, deprecatedCount 15 int32
    EventSeries: count 1 int32!, lastObservedTime 2 meta.MicroTime
"""

NODE_V1 = """
    RuntimeClass: metadata 1 meta.ObjectMeta, handler 2 string!, overhead 3 Overhead, scheduling 4 Scheduling
    Overhead: podFixed 1 {}Quantity
    Scheduling: nodeSelector 1 {}string, tolerations 2 []core.Toleration
"""
