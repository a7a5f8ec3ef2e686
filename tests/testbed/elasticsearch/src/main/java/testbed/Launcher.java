package testbed;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.settings.KeyStoreWrapper;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.env.Environment;
import org.elasticsearch.node.ClassPathNode;
import org.elasticsearch.node.InternalSettingsPreparer;
import org.elasticsearch.plugins.Plugin;
import org.elasticsearch.transport.netty4.Netty4Plugin;
import org.elasticsearch.xpack.core.XPackPlugin;
import org.elasticsearch.xpack.security.SecurityWithoutSaml;

/**
 * Starts one node on 127.0.0.1, on ports found free; the port of its API is then in the file
 * {@code logs/http.ports} of its folder.
 *
 * <p>Arguments: the folder, then settings as {@code name=value}. The environment variable {@code
 * ELASTIC_PASSWORD} has the password of {@code elastic}.
 */
public final class Launcher {
  private static final List<Class<? extends Plugin>> PLUGINS =
      List.of(
          UserTextAnalysis.class,
          RootDocument.class,
          Netty4Plugin.class,
          XPackPlugin.class,
          SecurityWithoutSaml.class);

  private Launcher() {}

  public static void main(String[] arguments) throws Exception {
    LogConfigurator.configureESLogging();
    Path folder = Path.of(arguments[0]).toAbsolutePath();
    Files.createDirectories(folder.resolve("config"));
    Files.createDirectories(folder.resolve("logs"));
    var environment =
        InternalSettingsPreparer.prepareEnvironment(
            settings(folder, arguments), Map.of(), folder.resolve("config"), () -> "testbed");
    ClassPathNode node = new ClassPathNode(withPassword(environment), PLUGINS);
    CountDownLatch end = new CountDownLatch(1);
    Runtime.getRuntime().addShutdownHook(new Thread(() -> close(node, end)));
    try {
      node.start();
    } catch (Exception cause) {
      cause.printStackTrace();
      System.exit(1);
    }
    end.await();
  }

  private static Settings settings(Path folder, String[] arguments) {
    Settings.Builder settings =
        Settings.builder()
            .put("path.home", folder)
            .put("path.data", folder.resolve("data"))
            .put("path.logs", folder.resolve("logs"))
            .put("node.portsfile", true)
            .put("cluster.name", "testbed")
            .put("discovery.type", "single-node")
            .put("network.host", "127.0.0.1")
            .put("http.port", "0")
            .put("transport.port", "0")
            .put("node.processors", 2)
            .put("cluster.routing.allocation.disk.threshold_enabled", false)
            .put("xpack.security.enabled", true)
            .put("xpack.security.enrollment.enabled", false)
            .put("xpack.security.autoconfiguration.enabled", false);
    for (String setting : List.of(arguments).subList(1, arguments.length)) {
      String[] parts = setting.split("=", 2);
      settings.put(parts[0], parts[1]);
    }
    return settings.build();
  }

  private static Environment withPassword(Environment environment) {
    KeyStoreWrapper secrets = KeyStoreWrapper.create();
    secrets.setString("bootstrap.password", System.getenv("ELASTIC_PASSWORD").toCharArray());
    Settings settings =
        Settings.builder().put(environment.settings()).setSecureSettings(secrets).build();
    return new Environment(settings, environment.configDir());
  }

  private static void close(ClassPathNode node, CountDownLatch end) {
    try {
      node.close();
    } catch (Exception cause) {
      System.err.println("the node does not end well: " + cause);
    } finally {
      end.countDown();
    }
  }
}
