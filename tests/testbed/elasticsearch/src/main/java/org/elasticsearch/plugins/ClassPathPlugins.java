package org.elasticsearch.plugins;

import java.lang.reflect.Constructor;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.elasticsearch.action.admin.cluster.node.info.PluginsAndModules;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.plugins.spi.SPIClassIterator;

/**
 * Plugins that are classes on the class path, in place of folders with jars of their own.
 *
 * <p>It lives in the server's package because that is where the parts it builds on are visible.
 */
public final class ClassPathPlugins extends PluginsService {
  private final List<LoadedPlugin> plugins;

  public ClassPathPlugins(Settings settings, Path config, List<Class<? extends Plugin>> classes) {
    super(settings, config, nothing());
    List<LoadedPlugin> loaded = new ArrayList<>();
    for (Class<? extends Plugin> type : classes) {
      Plugin plugin = loadPlugin(type, settings, config);
      loaded.add(new LoadedPlugin(descriptor(type), plugin, getClass().getClassLoader()));
    }
    plugins = List.copyOf(loaded);
    loadExtensions(plugins);
  }

  /** A loader that finds no plugin folders. */
  public static PluginsLoader nothing() {
    return PluginsLoader.createPluginsLoader(Set.of(), Set.of(), Map.of(), false);
  }

  private static PluginDescriptor descriptor(Class<?> type) {
    // The server wants a descriptor to show; nothing is decided by it.
    return new PluginDescriptor(
        type.getName(),
        "on the class path",
        "1",
        "1",
        Integer.toString(Runtime.version().feature()),
        type.getName(),
        null,
        List.of(),
        false,
        false,
        false,
        false);
  }

  @Override
  protected List<LoadedPlugin> plugins() {
    return plugins;
  }

  @Override
  public PluginsAndModules info() {
    var infos = plugins.stream().map(plugin -> new PluginRuntimeInfo(plugin.descriptor()));
    return new PluginsAndModules(infos.toList(), List.of());
  }

  /** A provider whose constructor asks for a plugin gets that plugin. */
  @Override
  public <T> List<? extends T> loadServiceProviders(Class<T> service) {
    List<T> providers = new ArrayList<>();
    SPIClassIterator.get(service, getClass().getClassLoader())
        .forEachRemaining(type -> providers.add(service.cast(provide(type))));
    return providers;
  }

  private Object provide(Class<?> type) {
    try {
      // One that can be made without a plugin refuses to be.
      for (Constructor<?> constructor : type.getConstructors()) {
        if (constructor.getParameterCount() == 1) {
          Class<?> wanted = constructor.getParameterTypes()[0];
          var fit = plugins.stream().map(LoadedPlugin::instance).filter(wanted::isInstance);
          return constructor.newInstance(fit.findFirst().orElseThrow());
        }
      }
      return type.getConstructor().newInstance();
    } catch (ReflectiveOperationException cause) {
      throw new IllegalStateException("cannot make a " + type, cause);
    }
  }
}
