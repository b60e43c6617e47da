SwaggerUIBundle({ url: "openapi.json", dom_id: "#swagger-ui", layout: "BaseLayout", presets: [SwaggerUIBundle.presets.apis], deepLinking: true });
