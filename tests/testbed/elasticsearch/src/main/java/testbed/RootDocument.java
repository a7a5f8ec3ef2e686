package testbed;

import java.io.IOException;
import java.util.Collection;
import java.util.List;
import java.util.function.Predicate;
import java.util.function.Supplier;
import org.elasticsearch.Build;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.action.ActionRequest;
import org.elasticsearch.action.ActionRequestValidationException;
import org.elasticsearch.action.ActionResponse;
import org.elasticsearch.action.ActionType;
import org.elasticsearch.action.support.ActionFilters;
import org.elasticsearch.action.support.TransportAction;
import org.elasticsearch.client.internal.node.NodeClient;
import org.elasticsearch.cluster.node.DiscoveryNodes;
import org.elasticsearch.cluster.service.ClusterService;
import org.elasticsearch.common.io.stream.NamedWriteableRegistry;
import org.elasticsearch.common.io.stream.StreamOutput;
import org.elasticsearch.common.settings.ClusterSettings;
import org.elasticsearch.common.settings.IndexScopedSettings;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.common.settings.SettingsFilter;
import org.elasticsearch.cluster.metadata.IndexNameExpressionResolver;
import org.elasticsearch.common.util.concurrent.EsExecutors;
import org.elasticsearch.features.NodeFeature;
import org.elasticsearch.index.IndexVersion;
import org.elasticsearch.injection.guice.Inject;
import org.elasticsearch.plugins.ActionPlugin;
import org.elasticsearch.plugins.Plugin;
import org.elasticsearch.rest.BaseRestHandler;
import org.elasticsearch.rest.RestController;
import org.elasticsearch.rest.RestHandler;
import org.elasticsearch.rest.RestRequest;
import org.elasticsearch.rest.action.RestToXContentListener;
import org.elasticsearch.tasks.Task;
import org.elasticsearch.transport.TransportService;
import org.elasticsearch.xcontent.ToXContentObject;
import org.elasticsearch.xcontent.XContentBuilder;

/**
 * {@code GET /}: in a whole distribution a module of its own, which is not to be had alone. The
 * action has the same name, so that the same privileges are asked for.
 */
public final class RootDocument extends Plugin implements ActionPlugin {
  private static final ActionType<Answer> ACTION = new ActionType<>("cluster:monitor/main");

  @Override
  public Collection<ActionHandler<? extends ActionRequest, ? extends ActionResponse>>
      getActions() {
    return List.of(new ActionHandler<>(ACTION, Action.class));
  }

  @Override
  public Collection<RestHandler> getRestHandlers(
      Settings settings,
      NamedWriteableRegistry registry,
      RestController controller,
      ClusterSettings clusterSettings,
      IndexScopedSettings indexSettings,
      SettingsFilter filter,
      IndexNameExpressionResolver resolver,
      Supplier<DiscoveryNodes> nodes,
      Predicate<NodeFeature> features) {
    return List.of(new Handler());
  }

  private static final class Handler extends BaseRestHandler {
    @Override
    public String getName() {
      return "main_action";
    }

    @Override
    public List<Route> routes() {
      return List.of(
          new Route(RestRequest.Method.GET, "/"), new Route(RestRequest.Method.HEAD, "/"));
    }

    @Override
    protected RestChannelConsumer prepareRequest(RestRequest request, NodeClient client) {
      return channel ->
          client.execute(ACTION, new Question(), new RestToXContentListener<>(channel));
    }
  }

  private static final class Question extends ActionRequest {
    @Override
    public ActionRequestValidationException validate() {
      return null;
    }
  }

  /** What the server says of itself. */
  public static final class Action extends TransportAction<ActionRequest, Answer> {
    private final ClusterService cluster;

    @Inject
    public Action(TransportService transport, ActionFilters filters, ClusterService cluster) {
      super(
          ACTION.name(),
          filters,
          transport.getTaskManager(),
          EsExecutors.DIRECT_EXECUTOR_SERVICE);
      this.cluster = cluster;
    }

    @Override
    protected void doExecute(Task task, ActionRequest request, ActionListener<Answer> listener) {
      listener.onResponse(
          new Answer(
              cluster.getNodeName(),
              cluster.getClusterName().value(),
              cluster.state().metadata().clusterUUID()));
    }
  }

  private static final class Answer extends ActionResponse implements ToXContentObject {
    private final String name;
    private final String cluster;
    private final String uuid;

    private Answer(String name, String cluster, String uuid) {
      this.name = name;
      this.cluster = cluster;
      this.uuid = uuid;
    }

    @Override
    public void writeTo(StreamOutput out) {
      throw new UnsupportedOperationException("there is one node only");
    }

    @Override
    public XContentBuilder toXContent(XContentBuilder json, Params params) throws IOException {
      Build build = Build.current();
      json.startObject();
      json.field("name", name).field("cluster_name", cluster).field("cluster_uuid", uuid);
      json.startObject("version");
      json.field("number", build.qualifiedVersion());
      json.field("build_flavor", build.flavor());
      json.field("build_type", build.type().displayName());
      json.field("build_hash", build.hash());
      json.field("build_date", build.date());
      json.field("build_snapshot", build.isSnapshot());
      json.field("lucene_version", IndexVersion.current().luceneVersion().toString());
      json.field("minimum_wire_compatibility_version", build.minWireCompatVersion());
      json.field("minimum_index_compatibility_version", build.minIndexCompatVersion());
      json.endObject();
      json.field("tagline", "You Know, for Search");
      return json.endObject();
    }
  }
}
