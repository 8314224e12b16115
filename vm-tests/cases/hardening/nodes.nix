_: {
  one = {
    imports = [ ../../nix/reachable.nix ];
    services.tepui.control-plane = {
      enable = true;
      credentials.key = "/etc/secret-of-the-plane";
    };
    services.tepui.agent = {
      enable = true;
      settings.docker_config = "/run/credentials/tepui-agentd.service/docker-config";
      credentials.docker-config = "/etc/secret-of-the-agent";
    };
    environment.etc = {
      secret-of-the-plane = {
        text = "for the plane";
        mode = "0400";
      };
      secret-of-the-agent = {
        text = "{}";
        mode = "0400";
      };
    };
  };
}
