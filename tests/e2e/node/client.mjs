// An informer on ConfigMaps of a namespace, and a server-side apply, driven by lines on stdin; each answer is one line of JSON.
//   client.mjs NAMESPACE, with KUBECONFIG set.  Lines: `apply NAME VALUE`, `dump`, `end`.
import * as readline from 'node:readline';
import * as k8s from '@kubernetes/client-node';

const namespace = process.argv[2];
const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
const objects = k8s.KubernetesObjectApi.makeApiClient(config);

const informer = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/configmaps`, () =>
  core.listNamespacedConfigMap({ namespace }),
);
const doubled = [];
const known = new Set();
informer.on('add', (obj) => (known.has(obj.metadata.name) ? doubled.push(obj.metadata.name) : known.add(obj.metadata.name)));
informer.on('delete', (obj) => known.delete(obj.metadata.name));
// The informer ends with an error when its connection breaks; whoever uses it starts it again.
informer.on('error', () => setTimeout(start, 50));
const start = () => informer.start().catch(() => setTimeout(start, 50));
start();

const answer = (value) => console.log(JSON.stringify(value));
for await (const line of readline.createInterface({ input: process.stdin })) {
  const [command, name, value] = line.split(' ');
  if (command === 'apply') {
    const obj = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace }, data: { value } };
    const applied = await objects.patch(obj, undefined, undefined, 'node', true, k8s.PatchStrategy.ServerSideApply);
    answer({ data: applied.data, managers: applied.metadata.managedFields.map((m) => [m.manager, m.operation]) });
  } else if (command === 'dump') {
    answer({
      held: Object.fromEntries(informer.list().map((o) => [o.metadata.name, o.metadata.resourceVersion])),
      doubled,
    });
  } else {
    process.exit(0);
  }
}
