package org.elasticsearch.xpack.security;

import java.util.List;
import org.elasticsearch.action.ActionRequest;
import org.elasticsearch.action.ActionResponse;
import org.elasticsearch.common.settings.Settings;

/**
 * The security feature, but for what needs the SAML libraries, which are not to be had.
 *
 * <p>Only a plugin of this package may bring an interceptor of requests.
 */
public final class SecurityWithoutSaml extends Security {
  public SecurityWithoutSaml(Settings settings) {
    super(settings);
  }

  @Override
  public List<ActionHandler<? extends ActionRequest, ? extends ActionResponse>> getActions() {
    return super.getActions().stream()
        .filter(handler -> !handler.getTransportAction().getName().contains(".action.saml."))
        .toList();
  }
}
