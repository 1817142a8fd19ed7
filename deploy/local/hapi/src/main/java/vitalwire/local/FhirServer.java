package vitalwire.local;

import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.IValidationSupport;
import ca.uhn.fhir.jpa.api.config.JpaStorageSettings;
import ca.uhn.fhir.jpa.api.dao.IFhirSystemDao;
import ca.uhn.fhir.jpa.interceptor.UserRequestRetryVersionConflictsInterceptor;
import ca.uhn.fhir.jpa.provider.IJpaSystemProvider;
import ca.uhn.fhir.jpa.provider.JpaCapabilityStatementProvider;
import ca.uhn.fhir.jpa.search.DatabaseBackedPagingProvider;
import ca.uhn.fhir.rest.api.EncodingEnum;
import ca.uhn.fhir.rest.server.HardcodedServerAddressStrategy;
import ca.uhn.fhir.rest.server.RestfulServer;
import ca.uhn.fhir.rest.server.interceptor.RequestValidatingInterceptor;
import ca.uhn.fhir.rest.server.provider.ResourceProviderFactory;
import ca.uhn.fhir.rest.server.util.ISearchParamRegistry;
import ca.uhn.fhir.validation.IInstanceValidatorModule;
import ca.uhn.fhir.validation.ResultSeverityEnum;
import java.net.InetSocketAddress;
import java.util.List;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.Server;
import org.springframework.context.ApplicationContext;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;

/**
 * HAPI's FHIR R4 server on embedded Jetty, on loopback only.
 *
 * <p>Settings: -Dport, -Ddb (see {@link Storage}), -Dvalidate=true (writes that break the FHIR definitions get 422),
 * -Drefint=true (references to nothing get 400).
 */
public final class FhirServer {

  private FhirServer() {}

  public static void main(String[] args) throws Exception {
    int port = Integer.getInteger("port", 8080);
    var beans = new AnnotationConfigApplicationContext(Storage.class);
    var servlets = new ServletContextHandler("/");
    servlets.addServlet(new ServletHolder("fhir", restfulServer(beans, "http://127.0.0.1:" + port + "/fhir")), "/fhir/*");
    var jetty = new Server(new InetSocketAddress("127.0.0.1", port));
    jetty.setHandler(servlets);
    jetty.setStopAtShutdown(true);
    jetty.start();
    jetty.join();
  }

  private static RestfulServer restfulServer(ApplicationContext beans, String address) throws Exception {
    var server = new RestfulServer(beans.getBean(FhirContext.class));
    beans.getAutowireCapableBeanFactory().autowireBean(server); // one interceptor service for HTTP and storage
    server.registerProviders(beans.getBean(ResourceProviderFactory.class).createProviders());
    server.registerProvider(beans.getBean(IJpaSystemProvider.class));
    server.setServerConformanceProvider(new JpaCapabilityStatementProvider(server, beans.getBean(IFhirSystemDao.class),
        beans.getBean(JpaStorageSettings.class), beans.getBean(ISearchParamRegistry.class), beans.getBean(IValidationSupport.class)));
    server.setPagingProvider(beans.getBean(DatabaseBackedPagingProvider.class));
    server.setDefaultResponseEncoding(EncodingEnum.JSON);
    server.setServerAddressStrategy(new HardcodedServerAddressStrategy(address));
    server.registerInterceptor(new UserRequestRetryVersionConflictsInterceptor()); // header X-Retry-On-Version-Conflict
    if (Boolean.getBoolean("validate")) {
      server.registerInterceptor(validator(beans));
    }
    return server;
  }

  private static RequestValidatingInterceptor validator(ApplicationContext beans) {
    var validator = new RequestValidatingInterceptor();
    validator.setFailOnSeverity(ResultSeverityEnum.ERROR);
    validator.setValidatorModules(List.of(beans.getBean(IInstanceValidatorModule.class)));
    return validator;
  }
}
